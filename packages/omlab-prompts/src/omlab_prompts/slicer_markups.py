"""Markups files of 3D Slicer (`.mrk.json`) as prompts: point lists and boxes, in world mm.

A point list is one object, a point in it a click; its description `0`, `negative` or `background` makes it a
click outside the object, anything else one inside it. An ROI is a box. Lists and ROIs of one name are one object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omlab.errors import InputError
from omlab_prompts.wording import brief

NEGATIVE = ("0", "negative", "background")
"""Descriptions, in lower case, of points that lie outside the object."""

_SIGNS = {"RAS": (1, 1, 1), "LPS": (-1, -1, 1)}
_PLAIN = [1, 0, 0, 0, 1, 0, 0, 0, 1]
_LARGEST = 1e9
"""mm: what lies further away is no position."""


class _MarkupError(Exception):
    """Why a markup cannot be a prompt: a part of a sentence."""


def objects_of(markups: Any, *, path: Path) -> list[dict[str, Any]]:
    """The `objects` of a prompts file in RAS+ for the list `markups` of a markups file.

    Raises `InputError` where there is anything but point lists and boxes along the axes, or nothing.
    """
    if not isinstance(markups, list) or not all(isinstance(entry, Mapping) for entry in markups):
        raise InputError(f"{path} is no markups file of 3D Slicer: 'markups' is not a list of markups.")
    objects: dict[str, dict[str, Any]] = {}
    stem = path.name.removesuffix(".json").removesuffix(".mrk")
    for number, entry in enumerate(markups, start=1):
        name = str(entry.get("name") or "").strip() or (stem if len(markups) == 1 else f"{stem}-{number}")
        try:
            part = _part(entry)
        except _MarkupError as error:
            raise InputError(f"Markup {number} of {path} cannot be a prompt: {error}.") from None
        for facet, found in part.items():
            if found:
                objects.setdefault(name, {"name": name}).setdefault(facet, []).extend(found)
    if not objects:
        raise InputError(f"{path} holds no point that has been set: place one in 3D Slicer and save the list again.")
    return list(objects.values())


def _part(entry: Mapping[str, Any]) -> dict[str, list[Any]]:
    system = entry.get("coordinateSystem", "LPS")
    if system not in ("LPS", "RAS"):
        raise _MarkupError(f"its coordinate system is '{system}', not LPS or RAS")
    units = entry.get("coordinateUnits", "mm")
    if units != "mm":
        raise _MarkupError(f"its unit is {units}, not mm")
    if entry.get("type") == "Fiducial":
        return {"points": _points(entry, _SIGNS[system])}
    if entry.get("type") == "ROI":
        return {"boxes": [_box(entry, _SIGNS[system])]}
    raise _MarkupError(f"it is of type '{entry.get('type')}'; only point lists (Fiducial) and boxes (ROI) are")


def _points(entry: Mapping[str, Any], signs: Sequence[int]) -> list[dict[str, Any]]:
    controls = entry.get("controlPoints")
    if not isinstance(controls, list):
        raise _MarkupError(f"its controlPoints are {brief(controls)}, not a list of points")
    points = []
    for number, point in enumerate(controls, start=1):
        if not isinstance(point, Mapping):
            raise _MarkupError(f"its point {number} is {brief(point)}, not a point with a position")
        if point.get("positionStatus", "defined") != "defined":
            continue
        at = _numbers(point.get("position"), 3, what=f"the position of its point {number}")
        negative = str(point.get("description", "")).strip().lower() in NEGATIVE
        points.append({"at": [s * x for s, x in zip(signs, at, strict=True)], "label": 0 if negative else 1})
    return points


def _box(entry: Mapping[str, Any], signs: Sequence[int]) -> dict[str, Any]:
    """The box of an ROI; its `orientation` (3 x 3, by rows) must only exchange or turn round the axes."""
    if entry.get("roiType", "Box") != "Box":
        raise _MarkupError(f"its ROI is a {brief(entry['roiType'])}, not a Box")
    orientation = _numbers(entry.get("orientation", _PLAIN), 9, what="its orientation")
    if any(min(abs(value), abs(abs(value) - 1)) > 1e-3 for value in orientation):
        raise _MarkupError("its ROI is rotated; boxes lie along the axes")
    center = _numbers(entry.get("center"), 3, what="its center")
    size = [abs(value) for value in _numbers(entry.get("size"), 3, what="its size")]
    half = [sum(round(abs(orientation[3 * row + n])) * size[n] for n in range(3)) / 2 for row in range(3)]
    middle = [s * x for s, x in zip(signs, center, strict=True)]
    return {
        "near": [c - h for c, h in zip(middle, half, strict=True)],
        "far": [c + h for c, h in zip(middle, half, strict=True)],
    }


def _numbers(value: Any, count: int, *, what: str) -> list[float]:
    if isinstance(value, list) and len(value) == count and all(_is_number(part) for part in value):
        return [float(part) for part in value]
    raise _MarkupError(f"{what} is {brief(value)}, not {count} numbers" if value is not None else f"{what} is missing")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST

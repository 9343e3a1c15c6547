"""Markups files of 3D Slicer (`.mrk.json`) as prompts: point lists and boxes, in world mm.

A point list is one object, a point in it a click; its description `0`, `negative` or `background` makes it a
click outside the object, anything else one inside it. An ROI is a box. Lists and ROIs of one name are one object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omlab.errors import InputError

NEGATIVE = ("0", "negative", "background")
"""Descriptions, in lower case, of points that lie outside the object."""

_SIGNS = {"RAS": (1, 1, 1), "LPS": (-1, -1, 1)}


def objects_of(markups: Any, *, path: Path) -> list[dict[str, Any]]:
    """The `objects` of a prompts file in RAS+ for the list `markups` of a markups file.

    Raises `InputError` where there is anything but point lists and boxes along the axes, or nothing.
    """
    if not isinstance(markups, list) or not all(isinstance(entry, Mapping) for entry in markups):
        raise InputError(f"{path} is no markups file of 3D Slicer: 'markups' is not a list of markups.")
    objects: dict[str, dict[str, Any]] = {}
    stem = path.name.removesuffix(".json").removesuffix(".mrk")
    for number, entry in enumerate(markups, start=1):
        name = str(entry.get("name") or (stem if len(markups) == 1 else f"{stem}-{number}"))
        try:
            part = _part(entry)
        except (KeyError, TypeError, IndexError) as error:
            raise InputError(f"Markup {number} of {path} is incomplete: {error} is missing or wrong.") from error
        except ValueError as error:
            raise InputError(f"Markup {number} of {path} cannot be a prompt: {error}.") from error
        for kind, found in part.items():
            if found:
                objects.setdefault(name, {"name": name}).setdefault(kind, []).extend(found)
    if not objects:
        raise InputError(f"{path} holds no point that has been set: place one in 3D Slicer and save the list again.")
    return list(objects.values())


def _part(entry: Mapping[str, Any]) -> dict[str, list[Any]]:
    system = str(entry.get("coordinateSystem", "LPS"))
    if system not in _SIGNS:
        raise ValueError(f"its coordinate system is '{system}', not LPS or RAS")
    units = entry.get("coordinateUnits", "mm")
    if units != "mm":
        raise ValueError(f"its unit is {units}, not mm")
    signs = _SIGNS[system]
    if entry["type"] == "Fiducial":
        return {"points": [_point(point, signs) for point in entry["controlPoints"] if _is_set(point)]}
    if entry["type"] == "ROI":
        return {"boxes": [_box(entry, signs)]}
    raise ValueError(f"it is of type '{entry['type']}'; only point lists (Fiducial) and boxes (ROI) are")


def _is_set(point: Mapping[str, Any]) -> bool:
    return bool(point.get("positionStatus", "defined") == "defined")


def _point(point: Mapping[str, Any], signs: Sequence[int]) -> dict[str, Any]:
    at = [sign * float(value) for sign, value in zip(signs, point["position"], strict=True)]
    negative = str(point.get("description", "")).strip().lower() in NEGATIVE
    return {"at": at, "label": 0 if negative else 1}


def _box(entry: Mapping[str, Any], signs: Sequence[int]) -> dict[str, Any]:
    """The box of an ROI; its `orientation` (3 x 3, by rows) must only exchange or turn round the axes."""
    if entry.get("roiType", "Box") != "Box":
        raise ValueError(f"its ROI is a {entry['roiType']}, not a Box")
    orientation = [float(value) for value in entry.get("orientation", (1, 0, 0, 0, 1, 0, 0, 0, 1))]
    if len(orientation) != 9 or any(min(abs(value), abs(abs(value) - 1)) > 1e-3 for value in orientation):
        raise ValueError("its ROI is rotated; boxes lie along the axes")
    centre = [sign * float(value) for sign, value in zip(signs, entry["center"], strict=True)]
    size = [abs(float(value)) for value in entry["size"]]
    half = [sum(round(abs(orientation[3 * row + n])) * size[n] for n in range(3)) / 2 for row in range(3)]
    return {
        "near": [c - h for c, h in zip(centre, half, strict=True)],
        "far": [c + h for c, h in zip(centre, half, strict=True)],
    }

"""Prompts from what a model found: label maps (masks), boxes (detections) and points (localisers).

Label maps of any package will do: an `array` of whole numbers and `present()`, in space an `affine`, in two dimensions
perhaps a `spacing`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError, UsageError
from omlab.payloads import Payload, an, describe
from omlab.suggest import did_you_mean
from omlab_payloads.boxes import Boxes
from omlab_payloads.points import Points
from omlab_prompts.picking import around, beside, boxes_of, deepest, grown, room_for_outside
from omlab_prompts.prompts import Point, Prompts

KINDS = ("labelmap", "labelmap-2d", "boxes", "points")
"""Of payloads that prompts can be made from."""
_FEW, _LOOKED_AT = 20, 4_000_000
_ALONG = 1e-3  # cosine: below it an axis of the image lies along one of the world


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which prompts each structure gets.

    Attributes:
        labels: Names of the structures; none: all.
        points: Inside, the deepest first.
        negatives: Outside, near the border.
        boxes: Whether it gets a box.
        margin: Of the box, in mm (pixels where an image has no spacing).
        image: Name of the image's file that they are for: needed for voxels; pixels of label maps go without.
    """

    labels: Sequence[str] = ()
    points: int = 1
    negatives: int = 0
    boxes: bool = False
    margin: float = 0.0
    image: str = ""

    def __post_init__(self) -> None:
        if min(self.points, self.negatives, self.margin) < 0:
            raise UsageError("Points, negatives and the margin of a box must not be below 0.")
        if not self.points and not self.boxes:
            raise UsageError("There is nothing to make: ask for points, boxes or both.")


def prompts_from(payload: Payload, wanted: Wanted, *, name: str = "") -> Prompts:
    """Prompts for each structure of a label map, for each box or landmark.

    Label maps in space give positions in mm (RAS+), which every image of that space takes; boxes of one whose axes lie
    oblique give voxels. Those of two dimensions give pixels of images of their size. Boxes and points stay in their
    space. `name` is what messages call the payload.

    Raises:
        InputError: There is nothing in it, or not the wanted label; it is an image that was read as a label map.
        UsageError: Pixels or voxels, and no image is named; another kind of payload.
    """
    name = name or str(getattr(payload, "name", None) or f"the {payload.kind}")
    if isinstance(payload, Boxes):
        return _from_boxes(payload, wanted, name=name)
    if isinstance(payload, Points):
        return _from_points(payload, wanted, name=name)
    if not hasattr(payload, "present") or not hasattr(payload, "array"):
        raise UsageError(f"{name} is {an(describe(payload))}: prompts are made from {', '.join(KINDS)}.")
    if _is_an_image(payload.array):
        raise InputError(
            f"{name} has other values from pixel to pixel, as an image has: give a label map, such as that which "
            f"omlab predict MODEL {name} makes."
        )
    return _from_labelmap(payload, wanted, name=name)


def _is_an_image(array: NDArray[Any]) -> bool:
    """Whether what a file holds is no label map for all its whole numbers.

    It has more values than a grey scale of a few steps, and of most of them most pixels have another value beside
    them: structures are wider than a pixel.
    """
    along = np.moveaxis(array, int(np.argmax(array.shape)), -1)
    step = int(np.ceil((array.size / _LOOKED_AT) ** (1 / (array.ndim - 1))))
    along = along[(slice(None, None, step),) * (array.ndim - 1)]
    values, numbers = np.unique(along, return_inverse=True)
    if len(values) <= _FEW:
        return False
    numbers = numbers.reshape(along.shape)
    first = numbers[..., :-1]
    goes_on = first[first == numbers[..., 1:]]
    counts, going_on = (np.bincount(found.ravel(), minlength=len(values)) for found in (first, goes_on))
    return bool(np.median(going_on[counts > 0] / counts[counts > 0]) < 0.5)


def _from_labelmap(payload: Any, wanted: Wanted, *, name: str) -> Prompts:
    array: NDArray[Any] = payload.array
    affine = getattr(payload, "affine", None)
    is_flat = array.ndim == 2
    if is_flat or affine is None:
        spacing = [float(step) for step in getattr(payload, "spacing", None) or [1.0] * array.ndim]
    else:
        spacing = [float(step) for step in np.linalg.norm(affine[:3, :3], axis=0)]
    space = "pixel" if is_flat else "voxel" if wanted.boxes and _is_oblique(affine) else "ras"
    chosen = _chosen(payload.present(), wanted.labels, name=name)
    places = boxes_of(array)
    objects = []
    for value, label in chosen.items():
        pointed = _pointed(array, value, places[value], spacing=spacing, wanted=wanted)
        objects.append({"name": label, **_placed(pointed, space=space, affine=affine)})
    size = array.shape[::-1] if is_flat else None
    return _prompts(objects, space=space, wanted=wanted, name=name, size=size)


def _chosen(present: Mapping[int, str], labels: Sequence[str], *, name: str) -> dict[int, str]:
    """The structures that are wanted, each with a name of its own."""
    if not present:
        raise InputError(f"{name} has no label in it: there is nothing to point at.")
    known = {label.casefold(): value for value, label in present.items()}
    for label in labels:
        if label.casefold() not in known:
            raise InputError(f"{name} has no structure '{label}': {did_you_mean(label, present.values(), none='')}")
    wanted = {known[label.casefold()] for label in labels} or set(present)
    return dict(zip(sorted(wanted), _unlike([present[value] for value in sorted(wanted)]), strict=True))


def _pointed(
    array: NDArray[Any], value: int, box: tuple[slice, ...], *, spacing: Sequence[float], wanted: Wanted
) -> dict[str, list[Any]]:
    """Points (place, label) and corners of boxes, in voxels."""
    room = room_for_outside(spacing) if wanted.negatives else [0] * array.ndim
    wide = grown(box, by=room, within=array.shape)
    region = array[wide] == value
    corner = [part.start for part in wide]
    points = [
        ([float(a + b) for a, b in zip(at, corner, strict=True)], label)
        for label, places in (
            (1, deepest(region, count=wanted.points, spacing=spacing)),
            (0, beside(region, count=wanted.negatives, spacing=spacing)),
        )
        for at in places
    ]
    margin = [wanted.margin / step for step in spacing]
    boxes = [around(box, margin=margin, within=array.shape)] if wanted.boxes else []
    return {"points": points, "boxes": boxes}


def _placed(pointed: Mapping[str, list[Any]], *, space: str, affine: Any) -> dict[str, list[dict[str, Any]]]:
    """The same in a space, as a prompts file has it."""

    def moved(at: Sequence[float]) -> list[float]:
        if space == "pixel":
            return list(at)[::-1]  # row and column to x and y
        return list(at) if space == "voxel" else [float(x) for x in affine[:3] @ np.array([*at, 1.0])]

    boxes = []
    for corners in pointed["boxes"]:
        ends = np.array([moved(corner) for corner in corners])
        boxes.append({"near": ends.min(axis=0).tolist(), "far": ends.max(axis=0).tolist()})
    return {"points": [{"at": moved(at), "label": label} for at, label in pointed["points"]], "boxes": boxes}


def _from_boxes(payload: Boxes, wanted: Wanted, *, name: str) -> Prompts:
    if wanted.negatives:
        raise UsageError(f"{name} holds boxes, which do not say what lies beside them: leave negatives out.")
    boxes = _labelled(payload.boxes, [box.label for box in payload.boxes], wanted.labels, name=name)
    objects = []
    for label, box in boxes:
        near, far = ([x + sign * wanted.margin for x in at] for at, sign in ((box.near, -1), (box.far, 1)))
        middle = [(a + b) / 2 for a, b in zip(box.near, box.far, strict=True)]
        objects.append(
            {
                "name": label,
                "points": [{"at": middle}] if wanted.points else [],
                "boxes": [{"near": near, "far": far}] if wanted.boxes else [],
            }
        )
    return _prompts(objects, space=_space(payload.space), wanted=wanted, name=name)


def _from_points(payload: Points, wanted: Wanted, *, name: str) -> Prompts:
    if wanted.boxes or wanted.negatives:
        raise UsageError(f"{name} holds points, which have no extent: ask for points alone.")
    points = _labelled(payload.points, [point.name for point in payload.points], wanted.labels, name=name)
    objects = [{"name": label, "points": [{"at": list(point.at)}]} for label, point in points]
    return _prompts(objects, space=_space(payload.space), wanted=wanted, name=name)


def _labelled(found: Sequence[Any], names: Sequence[str], labels: Sequence[str], *, name: str) -> list[tuple[str, Any]]:
    """Those of the entries whose name is wanted, each with a name of its own."""
    wanted = {label.casefold() for label in labels}
    kept = [n for n, known in enumerate(names) if not wanted or known.casefold() in wanted]
    if not kept:
        what = f"nothing called {' or '.join(labels)}" if labels else "nothing in it"
        raise InputError(f"{name} has {what}: there is nothing to point at.")
    called = _unlike([names[n] or "object" for n in kept])
    return [(label, found[n]) for label, n in zip(called, kept, strict=True)]


def _unlike(names: Sequence[str]) -> list[str]:
    """The names, with a number behind those that occur several times."""
    counts, seen = Counter(names), Counter[str]()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if counts[name] == 1 else f"{name} {seen[name]}")
    return found


def _prompts(
    objects: Sequence[Mapping[str, Any]],
    *,
    space: str,
    wanted: Wanted,
    name: str,
    size: Sequence[int] | None = None,
) -> Prompts:
    if space in ("voxel", "pixel") and not wanted.image and size is None:
        why = f"{name} gives {space}s, which mean something only in one image"
        raise UsageError(f"{why}: name the image that the prompts are for (--image FILE).")
    value: dict[str, Any] = {"space": space, "objects": [dict(entry) for entry in objects]}
    value |= {"image": wanted.image} if wanted.image else {}
    return Prompts.from_value(value | ({"size": list(size)} if size is not None else {}))


def _space(space: str) -> str:
    return "ras" if space == "world" else space


def _is_oblique(affine: Any) -> bool:
    cosines = np.abs(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    return bool((np.minimum(cosines, 1 - cosines) > _ALONG).any())


def deepest_points(found: Any) -> dict[str, Point]:
    """The deepest point of each structure that a label map holds, by its name in lower case: what a chain begins with.

    In mm (RAS+), in pixels for a label map of two dimensions. Of nothing there are none.
    """
    if not found.present():
        return {}
    prompts = _from_labelmap(found, Wanted(), name="the label map")
    return {entry.name.casefold(): entry.points[0] for entry in prompts.objects}


def hits(prompts: Prompts, target: Any) -> Iterable[dict[str, Any]]:
    """For each object with points, how many of them a target agrees with: inside its structure of that name, or not.

    `target` is a label map in space, of two dimensions for pixels. Raises `GeometryError` where a point lies outside.
    """
    array: NDArray[Any] = target.array
    by_name = {label.casefold(): value for value, label in target.present().items()}
    image = prompts.image or getattr(target, "name", None) or "the target"
    placed = prompts if array.ndim == 2 else prompts.in_voxels(target.affine, shape=array.shape, image=image)
    for entry in placed.objects:
        value = by_name.get(entry.name.casefold())
        right = 0
        for point in entry.points:
            at = tuple(round(x) for x in (point.at[::-1] if array.ndim == 2 else point.at))
            right += (array[at] == value) == bool(point.label) if value is not None else 0
        yield {"object": entry.name, "points": len(entry.points), "right": int(right), "in_target": value is not None}

"""Simulated prompts against a reference, a round at a time: how good the masks get with how many clicks.

Each round asks the predictor anew with all prompts so far, which its remembered embeddings make cheap: what comes out
is what `predict` gives for the prompts that are handed back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from omlab import progress
from omlab.errors import GeometryError, UsageError
from omlab.payloads import Payload
from omlab_image.image import Image, LabelMap2D
from omlab_prompts.deriving import deepest_points
from omlab_prompts.prompts import Box, Object, Point, Prompts, Space
from omlab_prompts.simulation import ClickScores, Simulation
from omlab_sammed2d.clicks import Draw, Mask, deepest_point, error_points, first_points, region_boxes
from omlab_sammed2d.predictor import ImagePredictor
from omlab_sammed2d.volumes import VolumePredictor
from omlab_volume.volume import LabelMap, Volume

Rule = Literal["random", "deepest"]
Start = Literal["point", "box"]
Place = Callable[[float, float, float], tuple[float, ...]]
"""From slice, x and y to a position as prompts have it."""


@dataclass(frozen=True, kw_only=True)
class _Target:
    """An object of the reference: its pixels (slices, rows, columns), and what it was pointed at with so far."""

    name: str
    value: int
    reference: Mask
    draw: Draw
    boxes: list[Box] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Scene:
    """What is clicked in, whatever it is.

    Attributes:
        space: Of the prompts.
        image: That they name.
        place: Where a pixel of a slice lies for prompts.
        ends: Of that, where an image ends: (rows, columns).
        predict: The prediction for prompts, and its labels (slices, rows, columns).
    """

    space: Space
    image: str
    place: Place
    ends: tuple[int, int]
    predict: Callable[[Prompts], tuple[Payload, NDArray[Any]]]


def simulate_image(
    predictor: ImagePredictor,
    image: Image,
    reference: LabelMap2D,
    *,
    clicks: int,
    seed: int,
    rule: Rule,
    start: Start,
    found: LabelMap2D | None = None,
) -> Simulation:
    """Point at each label of `reference` in an image; more in `_simulated`.

    Raises `GeometryError` where the reference has other pixels, `UsageError` where nothing is labelled.
    """
    if not reference.same_grid(image):
        raise GeometryError(
            f"The reference ({reference.shape} pixels) is not on the pixels of the image {image.shape}."
        )

    def predict(prompts: Prompts) -> tuple[Payload, NDArray[Any]]:
        found = predictor.predict(image, prompts)
        return found, found.array[None]

    scene = _Scene(
        space="pixel",
        image=image.name or "the image",
        place=lambda _slice, x, y: (x, y),
        ends=image.shape,
        predict=predict,
    )
    targets = _targets(reference.array[None], reference.present(), seed=seed)
    begun = None if found is None else deepest_points(found)
    return _simulated(scene, targets, clicks=clicks, rule=rule, start=start, begun=begun)


def simulate_volume(
    predictor: VolumePredictor,
    volume: Volume,
    reference: LabelMap,
    *,
    clicks: int,
    seed: int,
    rule: Rule,
    start: Start,
    found: LabelMap | None = None,
) -> Simulation:
    """Point at each label of `reference` in slices of a volume; more in `_simulated`.

    Raises `GeometryError` where the reference is not on the grid of the volume, `UsageError` where nothing is labelled.
    """
    if not reference.same_grid(volume):
        raise GeometryError(
            f"The reference ({reference.grid.shape} voxels) is not on the grid of the volume "
            f"({volume.grid.shape} voxels); shape or position differ."
        )
    slices = predictor.slices(volume)

    def predict(prompts: Prompts) -> tuple[Payload, NDArray[Any]]:
        found = predictor.predict(volume, prompts)
        return found, slices.shown(found.array)

    def place(number: float, x: float, y: float) -> tuple[float, ...]:
        return tuple(float(n) for n in slices.voxels(np.array([[number, x, y]], np.float64))[0])

    scene = _Scene(
        space="voxel", image=volume.name or "the volume", place=place, ends=slices.shape[1:], predict=predict
    )
    targets = _targets(slices.shown(reference.array), reference.present(), seed=seed)
    begun = None if found is None else _in_voxels(deepest_points(found), volume)
    return _simulated(scene, targets, clicks=clicks, rule=rule, start=start, begun=begun)


def _in_voxels(points: Mapping[str, Point], volume: Volume) -> dict[str, Point]:
    """Points in mm as voxels of a volume. Raises `GeometryError` for one that lies outside."""
    if not points:
        return {}
    image = volume.name or "the volume"
    objects = tuple(Object(name=name, points=(point,)) for name, point in points.items())
    placed = Prompts(space="ras", objects=objects).in_voxels(
        volume.affine.tolist(), shape=volume.grid.shape, image=image
    )
    return {entry.name: entry.points[0] for entry in placed.objects}


def _simulated(
    scene: _Scene,
    targets: list[_Target],
    *,
    clicks: int,
    rule: Rule,
    start: Start,
    begun: Mapping[str, Point] | None = None,
) -> Simulation:
    """Point `clicks` times at each target, where the labels so far are wrong.

    A click goes into the slice where most is wrong, the first one into the slice that shows most of the object; there
    anywhere in what is wrong (`random`, the authors' rule), or deep in the larger error (`deepest`). With `start` "box"
    each object begins with the box around its largest region there, and the Dice after it is the column `dice_box`.
    `begun` are first clicks that another model gave, by the name of the object in lower case.

    Raises `UsageError` where there is no target, or `clicks` is less than 1.
    """
    if clicks < 1:
        raise UsageError(f"At least one click must be simulated, not {clicks}.")
    if not targets:
        raise UsageError("The reference has no labelled pixel: there is nothing to click on.")
    more: dict[str, dict[str, Any]] = {
        target.name: {} if begun is None else {"first": "found" if target.name.casefold() in begun else "reference"}
        for target in targets
    }
    labels = np.zeros(targets[0].reference.shape, np.uint8)
    if start == "box":
        for target in targets:
            target.boxes.append(_box(target, scene))
        _, labels = scene.predict(_prompts(targets, scene))
        for number, target in enumerate(targets, start=1):
            more[target.name]["dice_box"] = _dice(labels == number, target.reference)
    rows: list[dict[str, Any]] = []
    prediction: Payload | None = None
    with progress.bar("clicks", total=clicks * len(targets)) as advance:
        for turn in range(1, clicks + 1):
            for number, target in enumerate(targets, start=1):
                first = (begun or {}).get(target.name.casefold()) if turn == 1 else None
                target.points.append(first or _point(target, labels == number, scene, rule=rule))
                advance(1)
            prediction, labels = scene.predict(_prompts(targets, scene))
            rows += [
                {"object": target.name, "round": turn, "dice": _dice(labels == number, target.reference)}
                | more[target.name]
                for number, target in enumerate(targets, start=1)
            ]
    assert prediction is not None
    return Simulation(prediction=prediction, prompts=_prompts(targets, scene), scores=ClickScores(rows=rows))


def _targets(reference: NDArray[Any], names: Mapping[int, str], *, seed: int) -> list[_Target]:
    """The labels that some pixel has; equal names are told apart by their values."""
    stripped = {value: name.strip() for value, name in names.items()}
    every = list(stripped.values())
    targets = []
    for value, name in stripped.items():
        generator = np.random.default_rng([seed, value])
        unique = name if name and every.count(name) == 1 else f"{name or 'label'} ({value})"
        targets.append(_Target(name=unique, value=value, reference=reference == value, draw=_drawing(generator)))
    return targets


def _drawing(generator: np.random.Generator) -> Draw:
    return lambda count: int(generator.integers(count))


def _prompts(targets: list[_Target], scene: _Scene) -> Prompts:
    objects = tuple(
        Object(name=target.name, points=tuple(target.points), boxes=tuple(target.boxes)) for target in targets
    )
    return Prompts(space=scene.space, image=scene.image, objects=objects)


def _box(target: _Target, scene: _Scene) -> Box:
    """Around the largest region of the slice that shows most of the object; its far ends at the edge of the pixels."""
    number = int(target.reference.sum(axis=(1, 2)).argmax())
    x0, y0, x1, y1 = region_boxes(target.reference[number])[0]
    far = (min(x1, scene.ends[1] - 0.5), min(y1, scene.ends[0] - 0.5))
    corners = np.array([scene.place(number, x0, y0), scene.place(number, *far)])
    near, far_end = corners.min(axis=0), corners.max(axis=0)
    return Box(near=tuple(near.tolist()), far=tuple(far_end.tolist()))


def _point(target: _Target, mask: Mask, scene: _Scene, *, rule: Rule) -> Point:
    """The next click."""
    wrong = mask != target.reference
    is_first = not target.points and not target.boxes
    counted = target.reference if is_first or not wrong.any() else wrong
    number = int(counted.sum(axis=(1, 2)).argmax())
    here, reference = mask[number], target.reference[number]
    if rule == "deepest" and counted is not target.reference:
        places, labels = deepest_point(here, reference, draw=target.draw)
    elif rule == "deepest":
        places, labels = deepest_point(np.zeros_like(reference), reference, draw=target.draw)
    elif counted is target.reference:
        places, labels = first_points(reference, count=1, draw=target.draw, shuffle=range)
    else:
        places, labels = error_points(here, reference, count=1, draw=target.draw)
    at = scene.place(number, float(places[0, 0]), float(places[0, 1]))
    return Point(at=at, label=1 if labels[0] == 1 else 0)


def _dice(found: Mask, truth: Mask) -> float:
    return float(2 * np.count_nonzero(found & truth) / (np.count_nonzero(found) + np.count_nonzero(truth)))

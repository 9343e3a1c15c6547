"""Simulated clicks against a reference, a round at a time: how good the masks get with how many clicks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from omlab import progress
from omlab.errors import GeometryError, UsageError
from omlab_prompts.deriving import deepest_points
from omlab_prompts.prompts import Object, Point, Prompts
from omlab_prompts.simulation import ClickScores, Simulation
from omlab_sammed3d.clicks import Draw, Mask, random_click, ritm_click
from omlab_sammed3d.predictor import Case, Predictor, canonical_voxels
from omlab_sammed3d.session import Session
from omlab_sammed3d.windows import Region
from omlab_volume.labels import complete_labels
from omlab_volume.orientation import canonical_array
from omlab_volume.volume import LabelMap, Volume

Rule = Literal["ritm", "random"]
RULES: dict[str, Callable[..., Point]] = {"ritm": ritm_click, "random": random_click}


class _Target(NamedTuple):
    name: str
    reference: Mask
    draw: Draw
    points: list[Point]


def simulate(
    predictor: Predictor,
    volume: Volume,
    reference: LabelMap,
    *,
    clicks: int,
    rule: Rule,
    seed: int,
    found: LabelMap | None = None,
) -> Simulation:
    """Click `clicks` times for each label of `reference`, every time where the labels so far are wrong.

    The first click of an object lies in it, or is the deepest point of the structure of its name in `found`, which
    another model gave; the rounds are those of `Predictor.predict`, which gives the same mask for the returned prompts
    (world mm). Each click goes where `rule` says on the grid of the volume, among voxels that the model can reach.
    `dice` is that of the labels after the round: 2 |A and B| / (|A| + |B|) on the grid of the volume.

    Raises:
        UsageError: `clicks` is less than 1, or nothing is labelled.
        GeometryError: The reference is not on the grid of the volume, or `found` begins outside it.
        InputError: As of `Predictor.predict`.
    """
    if clicks < 1:
        raise UsageError(f"At least one click must be simulated, not {clicks}.")
    if not reference.same_grid(volume):
        raise GeometryError(
            f"The reference ({reference.grid.shape} voxels) is not on the grid of the volume "
            f"({volume.grid.shape} voxels); shape or position differ."
        )
    case = predictor.prepare(volume)
    targets = _targets(reference, seed=seed)
    if not targets:
        raise UsageError("The reference has no labelled voxel: there is nothing to click on.")
    begun = {} if found is None else deepest_points(found)
    sessions: list[Session] = []
    rows: list[dict[str, Any]] = []
    prediction = LabelMap(array=np.zeros(volume.grid.shape, np.uint8), affine=volume.affine)
    with progress.bar("clicks", total=clicks * len(targets)) as advance:
        for number in range(1, clicks + 1):
            labels = canonical_array(prediction.array, volume.grid)
            for index, target in enumerate(targets):
                if number == 1:
                    first = begun.get(target.name.casefold())
                    target.points.append(
                        first or _click(target, labels == index + 1, case=case, rule=rule, region=None)
                    )
                    sessions.append(predictor.begin(case, _in_voxels(target, case)))
                else:
                    session = sessions[index]
                    target.points.append(
                        _click(target, labels == index + 1, case=case, rule=rule, region=session.region)
                    )
                    newest = np.array([_in_voxels(target, case).points[-1].at])
                    session.click(canonical_voxels(newest, volume.grid)[0], label=target.points[-1].label)
                advance(1)
            prediction = predictor.labels(case, sessions)
            labels = canonical_array(prediction.array, volume.grid)
            rows += [
                {"object": target.name, "round": number, "dice": _dice(labels == index + 1, target.reference)}
                | ({} if found is None else {"first": "found" if target.name.casefold() in begun else "reference"})
                for index, target in enumerate(targets)
            ]
    objects = tuple(Object(name=target.name, points=tuple(target.points)) for target in targets)
    return Simulation(
        prediction=prediction, prompts=Prompts(space="ras", objects=objects), scores=ClickScores(rows=rows)
    )


def _targets(reference: LabelMap, *, seed: int) -> list[_Target]:
    """The labels that some voxel has, along the closest RAS+ axes; equal names are told apart by their values."""
    labels = complete_labels(reference, present_only=True)
    names = [label.name.strip() for label in labels]
    array = canonical_array(reference.array, reference.grid)
    targets = []
    for label, name in zip(labels, names, strict=True):
        generator = np.random.default_rng([seed, label.value])
        unique = name if name and names.count(name) == 1 else f"{name or 'label'} ({label.value})"
        targets.append(_Target(unique, array == label.value, _drawing(generator), []))
    return targets


def _drawing(generator: np.random.Generator) -> Draw:
    return lambda count: int(generator.integers(count))


def _click(target: _Target, mask: Mask, *, case: Case, rule: Rule, region: Region | None) -> Point:
    """The next click in world mm."""
    part = region or (slice(None),) * 3
    wrong = mask[part] != target.reference[part]
    spans = _bounds(wrong if wrong.any() else target.reference[part])
    offset = [(here.start or 0) + span.start for here, span in zip(part, spans, strict=True)]
    # all errors lie in the spans, so that they are as deep there as in the whole region
    found = RULES[rule](mask[part][spans], target.reference[part][spans], draw=target.draw)
    voxel = np.array([*(at + first for at, first in zip(found.at, offset, strict=True)), 1.0])
    x, y, z = (float(value) for value in (case.grid.affine @ voxel)[:3])
    return Point(at=(x, y, z), label=found.label)


def _bounds(mask: Mask) -> Region:
    spans = []
    for axis in range(3):
        here = np.flatnonzero(mask.any(axis=tuple(n for n in range(3) if n != axis)))
        spans.append(slice(int(here[0]), int(here[-1]) + 1))
    return spans[0], spans[1], spans[2]


def _in_voxels(target: _Target, case: Case) -> Object:
    """The clicks so far in voxels of the volume, by the very arithmetic that `Predictor.predict` applies to them."""
    entry = Object(name=target.name, points=tuple(target.points))
    prompts = Prompts(space="ras", objects=(entry,))
    grid = case.volume.grid
    return prompts.in_voxels(grid.affine.tolist(), shape=grid.shape, image="the reference").objects[0]


def _dice(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float(2 * np.count_nonzero(found & truth) / (np.count_nonzero(found) + np.count_nonzero(truth)))

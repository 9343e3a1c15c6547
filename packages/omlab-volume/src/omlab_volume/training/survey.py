"""What training wants to know of a data set's volumes beforehand: the fingerprint that nnU-Net plans by.

Source: Isensee et al., Nature Methods 18 (2021). Triples are (z, y, x) along the closest anatomical axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from omlab import progress
from omlab.errors import GeometryError, InputError
from omlab.payloads import take
from omlab.roles import Case, Sample
from omlab_volume.gate.learn import Learner
from omlab_volume.orientation import canonical_grid
from omlab_volume.volume import LabelMap, Volume

MOST_CASES = 1000
"""Of more, so many are read, always the same ones."""
VOXELS_PER_CASE = 10_000
"""Labelled voxels drawn of a case: a sample will do."""


def survey(cases: Sequence[Case], name: str) -> dict[str, Any]:
    """The survey of the kind `volume` (`omlab.card_schema.PayloadCard`): facts of the input `name`, as JSON.

    Returns:
        `cases`: how many were read. `spacings` (mm) and `shapes` (voxels) of each, `spacing` and `shape` their medians.
        `channels`: of every volume. `intensities`: what their numbers mean, each once. `foreground`: `mean`, `std`,
        `percentile_00_5` and `percentile_99_5` of the first channel where the target has a label; None without such.
        `expects`: what a model that was trained on them expects of volumes and of its label maps (`omlab_volume.gate`).

    Raises:
        InputError: There is no case, one cannot be read, or they differ in their number of channels.
        GeometryError: A label map lies on another grid than its volume.
    """
    chosen = _chosen(cases)
    if not chosen:
        raise InputError("There is no case to learn spacing and intensities from.")
    generator = np.random.default_rng(0)
    spacings, shapes, drawn = [], [], []
    channels: dict[int, str] = {}
    intensities: set[str] = set()
    learner = Learner()
    with progress.bar("surveying volumes", total=len(chosen)) as advance:
        for case in chosen:
            sample = case.load()
            volume = take(sample.inputs, name, Volume)
            grid = canonical_grid(volume.grid)
            spacings.append(grid.spacing[::-1])
            shapes.append(grid.shape[::-1])
            channels.setdefault(volume.channels, case.id)
            intensities.add(volume.intensity)
            drawn.append(_labelled(sample, volume, generator))
            learner.add(volume, sample.target)
            advance(1)
    if len(channels) > 1:
        found = " and ".join(f"'{id}' has {count}" for count, id in list(channels.items())[:2])
        raise InputError(f"The cases differ in their number of channels: {found}.")
    return {
        "cases": len(chosen),
        "spacing": np.median(spacings, axis=0).tolist(),
        "shape": np.median(shapes, axis=0).tolist(),
        "spacings": [list(spacing) for spacing in spacings],
        "shapes": [list(shape) for shape in shapes],
        "channels": next(iter(channels)),
        "intensities": sorted(intensities),
        "foreground": _statistics(np.concatenate(drawn).astype(np.float64)),
        "expects": learner.expects(),
    }


def _chosen(cases: Sequence[Case]) -> list[Case]:
    """All cases, or a sample that depends on their ids alone, in their order."""
    if len(cases) <= MOST_CASES:
        return list(cases)
    digests = [sha256(case.id.encode()).digest() for case in cases]
    last = sorted(digests)[MOST_CASES - 1]
    return [cases[index] for index, digest in enumerate(digests) if digest <= last]


def _labelled(sample: Sample, volume: Volume, generator: Generator) -> NDArray[Any]:
    """Values of the first channel where the target has a label, at most `VOXELS_PER_CASE` of them drawn."""
    if not isinstance(sample.target, LabelMap):
        return np.empty(0, volume.array.dtype)
    if not sample.target.same_grid(volume):
        raise GeometryError(f"The label map of case '{sample.id}' lies on another grid than its image.")
    values = volume.array[0][sample.target.array > 0]
    values = values[np.isfinite(values)]
    return generator.choice(values, VOXELS_PER_CASE) if values.size > VOXELS_PER_CASE else values


def _statistics(values: NDArray[np.float64]) -> dict[str, float] | None:
    if not values.size:
        return None
    low, high = np.percentile(values, [0.5, 99.5])
    return {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "percentile_00_5": float(low),
        "percentile_99_5": float(high),
    }

"""Plans: the voxel size, window and poolings that a network works with. All triples are (z, y, x).

The published plan is carried as values: upstream's `plans.pkl` is a pickle. For fine-tuning a plan is made
of the target data's spacings, shapes and intensities, in the manner of nnU-Net (Isensee et al., Nature
Methods 18, 2021). Poolings hold no weights, so a checkpoint fits every plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from omlab.errors import SettingsError, TrainingError
from omlab.roles import Sample
from omlab_stunet.network import Triple
from omlab_volume.inference.preprocess import Plan
from omlab_volume.inference.resample import Spacing, resampled_shape
from omlab_volume.orientation import canonical_grid
from omlab_volume.volume import LabelMap, Volume

PUBLISHED_PLAN = Plan(spacing=(1.5, 1.5, 1.5), patch_size=(128, 128, 128), normalisation="zscore")
"""Of the TotalSegmentator checkpoints: each image by its own mean and deviation, no clipping of HU."""

TINY_PLAN = replace(PUBLISHED_PLAN, patch_size=(32, 32, 32))

SMALLEST = 4
"""Voxels that an axis keeps at the lowest resolution (nnU-Net's rule)."""
LARGEST_PATCH = 128**3
"""Voxels of a window at most: what the published networks were trained with."""
_VOXELS_PER_CASE = 10_000


def fill_poolings(poolings: Sequence[Sequence[int]], *, count: int = 5) -> tuple[Triple, ...]:
    """The poolings of any nnU-Net plan for a network that has `count`: cut off, or filled up with (1, 1, 1)."""
    kept = [_triple(pooling) for pooling in poolings[:count]]
    return (*kept, *[(1, 1, 1)] * (count - len(kept)))


def poolings_for(patch_size: Sequence[int], spacing: Sequence[float], *, count: int = 5) -> tuple[Triple, ...]:
    """Poolings for a window at a spacing: an axis is halved while it is even, long and fine enough.

    Long: `SMALLEST` voxels are left. Fine: less than twice as coarse as the finest axis that could be halved.
    """
    size, width = np.array(patch_size), np.array(spacing, float)
    poolings: list[Triple] = []
    while len(poolings) < count and (able := (size % 2 == 0) & (size // 2 >= SMALLEST)).any():
        halved = able & (width < 2 * width[able].min())
        poolings.append(_triple(np.where(halved, 2, 1)))
        size, width = np.where(halved, size // 2, size), np.where(halved, width * 2, width)
    return fill_poolings(poolings, count=count)


def with_settings(plan: Plan, *, poolings: Sequence[Triple], spacing: Sequence[Any], patch_size: Sequence[Any]) -> Plan:
    """`plan` with a user's spacing and window; an empty one leaves the plan's.

    Raises `SettingsError` for anything but three numbers above 0, or a window that the poolings do not divide.
    """
    if spacing:
        plan = replace(plan, spacing=_spacing(spacing))
    if patch_size:
        window = _window(patch_size)
        stride = [prod(axis) for axis in zip(*poolings, strict=True)]
        if any(n % s for n, s in zip(window, stride, strict=True)):
            raise SettingsError(f"patch_size is {window}, but this network needs multiples of {tuple(stride)}.")
        if tuple(stride) == window:
            raise SettingsError(f"patch_size is {window}, which leaves one voxel to normalise: make it larger.")
        plan = replace(plan, patch_size=window)
    return plan


def plan_for(
    samples: Sequence[Sample], *, spacing: Sequence[Any] = (), patch_size: Sequence[Any] = ()
) -> tuple[Plan, tuple[Triple, ...]]:
    """The plan and poolings to fine-tune with on `samples`: volumes with label maps as targets.

    Spacing: the median of the cases, unless given. Window: the median case at that spacing, shrunk evenly to
    `LARGEST_PATCH` voxels and rounded to what can be halved, unless given. Intensities: CT (all volumes in
    HU, one channel) by the percentiles, mean and deviation of the labelled voxels, else each image by its own.
    """
    grids = [canonical_grid(_volume(sample).grid) for sample in samples]
    median = np.median([grid.spacing[::-1] for grid in grids], axis=0)
    target = _spacing(spacing) if spacing else _spacing(median)
    shapes = [resampled_shape(g.shape[::-1], spacing=g.spacing[::-1], target=target) for g in grids]
    window = _window(patch_size) if patch_size else _fitting(np.median(shapes, axis=0))
    poolings = poolings_for(window, target)
    return replace(_intensities(samples), spacing=target, patch_size=window), poolings


def _fitting(shape: np.ndarray[Any, Any]) -> Triple:
    """A window of the proportions of `shape` that can be halved down to `SMALLEST` voxels or little more."""
    size = np.maximum(shape, SMALLEST)
    size = size * min(1.0, (LARGEST_PATCH / size.prod()) ** (1 / 3))
    step = 2 ** np.clip(np.floor(np.log2(size / SMALLEST)), 0, 5)
    up, down = np.ceil(size / step) * step, np.floor(size / step) * step
    return _triple(up if up.prod() <= LARGEST_PATCH else np.maximum(down, SMALLEST))


def _intensities(samples: Sequence[Sample]) -> Plan:
    volumes = [_volume(sample) for sample in samples]
    if any(volume.intensity != "hu" or volume.channels != 1 for volume in volumes):
        return replace(PUBLISHED_PLAN, normalisation="zscore")
    generator = np.random.default_rng(0)  # a sample of the voxels will do, but always the same one
    drawn = []
    for volume, sample in zip(volumes, samples, strict=True):
        values = volume.array[0][_target(sample).array > 0]
        values = values[np.isfinite(values)]
        drawn.append(generator.choice(values, _VOXELS_PER_CASE) if values.size > _VOXELS_PER_CASE else values)
    values = np.concatenate(drawn).astype(np.float64)
    if not values.size or values.std() == 0:
        return replace(PUBLISHED_PLAN, normalisation="zscore")
    low, high = np.percentile(values, [0.5, 99.5])
    return replace(
        PUBLISHED_PLAN,
        normalisation="ct",
        percentile_low=float(low),
        percentile_high=float(high),
        mean=float(values.mean()),
        std=float(values.std()),
    )


def _volume(sample: Sample) -> Volume:
    if not isinstance(sample.payload, Volume):
        raise TrainingError(f"Case '{sample.id}' is not a volume but a {sample.payload.kind}.")
    return sample.payload


def _target(sample: Sample) -> LabelMap:
    if not isinstance(sample.target, LabelMap):
        raise TrainingError(f"Case '{sample.id}' has no label map to learn from.")
    if not sample.target.same_grid(sample.payload):
        raise TrainingError(f"The label map of case '{sample.id}' lies on another grid than its image.")
    return sample.target


def _spacing(values: Iterable[Any]) -> Spacing:
    z, y, x = _three(values, "spacing", whole=False)
    return z, y, x


def _window(values: Iterable[Any]) -> Triple:
    return _triple(_three(values, "patch_size", whole=True))


def _three(values: Iterable[Any], name: str, *, whole: bool) -> list[float]:
    given = list(values)
    numbers = [float(v) for v in given if isinstance(v, int | float | np.number) and not isinstance(v, bool)]
    if (
        len(given) != 3
        or len(numbers) != 3
        or not all(0 < n < float("inf") and (not whole or n == int(n)) for n in numbers)
    ):
        kind = "whole numbers" if whole else "numbers"
        raise SettingsError(f"{name} is {given}, but must be three {kind} above 0 (z,y,x).")
    return numbers


def _triple(values: Iterable[Any]) -> Triple:
    z, y, x = (int(value) for value in values)
    return z, y, x

"""Plans: the voxel size, window and poolings that a network works with. All triples are (z, y, x).

The published plan is carried as values: upstream's `plans.pkl` is a pickle. For fine-tuning a plan is made
of the target data's spacings, shapes and intensities, in the manner of nnU-Net (Isensee et al., Nature
Methods 18, 2021). Poolings hold no weights, so a checkpoint fits every plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from omlab.errors import SettingsError
from omlab_stunet.network import Triple
from omlab_volume.inference.preprocess import Plan
from omlab_volume.inference.resample import Spacing, resampled_shape

PUBLISHED_PLAN = Plan(spacing=(1.5, 1.5, 1.5), patch_size=(128, 128, 128), normalisation="zscore")
"""Of the TotalSegmentator checkpoints: each image by its own mean and deviation, no clipping of HU."""

TINY_PLAN = replace(PUBLISHED_PLAN, patch_size=(32, 32, 32))

SMALLEST = 4
"""Voxels that an axis keeps at the lowest resolution (nnU-Net's rule)."""
LARGEST_PATCH = 128**3
"""Voxels of a window at most: what the published networks were trained with."""


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
    facts: Mapping[str, Any], *, plan: Plan, spacing: Sequence[Any] = (), patch_size: Sequence[Any] = ()
) -> tuple[Plan, tuple[Triple, ...]]:
    """The plan and poolings to train with on volumes of which `omlab_volume.training.survey` tells.

    Spacing: the median of the cases, unless given. Window: the median case at that spacing, shrunk evenly to
    `LARGEST_PATCH` voxels and rounded to what can be halved, unless given. Intensities: CT (all volumes in
    HU, one channel) by the percentiles, mean and deviation of the labelled voxels, else each image by its own.

    Args:
        facts: `spacings` (mm) and `shapes` of cases, each (z, y, x) along the closest anatomical axes, `intensities`,
            `channels`, and `foreground` (mean, std, percentiles) of labelled voxels; without any, `plan` stays.
        plan: The network's own.
        spacing: In mm (z, y, x).
        patch_size: In voxels (z, y, x).
    """
    if not facts.get("spacings"):
        own = plan.spacing or PUBLISHED_PLAN.spacing
        target = _spacing(spacing) if spacing else own
        assert target is not None
        window = _window(patch_size) if patch_size else plan.patch_size
        return replace(plan, spacing=target, patch_size=window), poolings_for(window, target)
    target = _spacing(spacing) if spacing else _spacing(np.median(facts["spacings"], axis=0))
    shapes = [
        resampled_shape(tuple(shape), spacing=tuple(own), target=target)
        for shape, own in zip(facts["shapes"], facts["spacings"], strict=True)
    ]
    window = _window(patch_size) if patch_size else _fitting(np.median(shapes, axis=0))
    return replace(_intensities(facts), spacing=target, patch_size=window), poolings_for(window, target)


def _fitting(shape: np.ndarray[Any, Any]) -> Triple:
    """A window of the proportions of `shape` that can be halved down to `SMALLEST` voxels or little more."""
    size = np.maximum(shape, SMALLEST)
    size = size * min(1.0, (LARGEST_PATCH / size.prod()) ** (1 / 3))
    step = 2 ** np.clip(np.floor(np.log2(size / SMALLEST)), 0, 5)
    up, down = np.ceil(size / step) * step, np.floor(size / step) * step
    return _triple(up if up.prod() <= LARGEST_PATCH else np.maximum(down, SMALLEST))


def _intensities(facts: Mapping[str, Any]) -> Plan:
    """Of the labelled voxels of CT, else of each image by itself."""
    foreground = facts.get("foreground")
    is_ct = set(facts.get("intensities", ())) == {"hu"} and facts.get("channels", 1) == 1
    if not is_ct or not foreground or not foreground["std"] > 0:
        return replace(PUBLISHED_PLAN, normalisation="zscore")
    return replace(
        PUBLISHED_PLAN,
        normalisation="ct",
        percentile_low=float(foreground["percentile_00_5"]),
        percentile_high=float(foreground["percentile_99_5"]),
        mean=float(foreground["mean"]),
        std=float(foreground["std"]),
    )


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

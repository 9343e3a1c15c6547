"""Plans made of the data: voxel size, window, poolings and intensities to train a network with.

In the manner of nnU-Net (Isensee et al., Nature Methods 18, 2021), from what `omlab_volume.training.survey` tells of
the cases. All triples are (z, y, x).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.errors import SettingsError
from omlab_volume.inference.preprocess import Plan
from omlab_volume.inference.resample import Shape, Spacing, resampled_shape

SMALLEST = 4
"""Voxels that an axis keeps at the lowest resolution (nnU-Net's rule)."""
LARGEST_PATCH = 128**3
"""Voxels of a window at most."""
HALVINGS = 5
"""Times that an axis is halved at most."""


def plan_for(
    facts: Mapping[str, Any], *, plan: Plan, spacing: Sequence[Any] = (), patch_size: Sequence[Any] = ()
) -> Plan:
    """The plan to train with on volumes of which `omlab_volume.training.survey` tells.

    Spacing: the median of the cases, unless given. Window: the median case at that spacing, shrunk evenly to
    `LARGEST_PATCH` voxels and rounded to what can be halved, unless given. Intensities: CT (all volumes in
    HU, one channel) by the percentiles, mean and deviation of the labelled voxels, else each image by its own.

    Args:
        facts: `spacings` (mm) and `shapes` of cases, each (z, y, x) along the closest anatomical axes, `intensities`,
            `channels`, and `foreground` (mean, std, percentiles) of labelled voxels; without any, `plan` stays.
        plan: The network's own, with a spacing.
        spacing: In mm (z, y, x).
        patch_size: In voxels (z, y, x).

    Raises:
        SettingsError: `spacing` or `patch_size` cannot be.
    """
    if not facts.get("spacings"):
        return replace(
            plan,
            spacing=spacing_of(spacing) if spacing else plan.spacing,
            patch_size=window_of(patch_size) if patch_size else plan.patch_size,
        )
    target = spacing_of(spacing if spacing else np.median(facts["spacings"], axis=0))
    shapes = [
        resampled_shape(tuple(shape), spacing=tuple(own), target=target)
        for shape, own in zip(facts["shapes"], facts["spacings"], strict=True)
    ]
    window = window_of(patch_size) if patch_size else _fitting(np.median(shapes, axis=0))
    return _with_intensities(Plan(spacing=target, patch_size=window), facts)


def poolings_for(patch_size: Sequence[int], spacing: Sequence[float], *, count: int = HALVINGS) -> list[Shape]:
    """At most `count` poolings for a window at a spacing: an axis is halved while it is even, long and fine enough.

    Long: `SMALLEST` voxels are left. Fine: less than twice as coarse as the finest axis that could be halved.
    """
    size, width = np.array(patch_size), np.array(spacing, float)
    poolings: list[Shape] = []
    while len(poolings) < count and (able := (size % 2 == 0) & (size // 2 >= SMALLEST)).any():
        halved = able & (width < 2 * width[able].min())
        poolings.append(_triple(np.where(halved, 2, 1)))
        size, width = np.where(halved, size // 2, size), np.where(halved, width * 2, width)
    return poolings


def spacing_of(values: Iterable[Any]) -> Spacing:
    """A user's voxel size (z, y, x) in mm. Raises `SettingsError` for anything but three numbers above 0."""
    z, y, x = _three(values, "spacing", whole=False)
    return z, y, x


def window_of(values: Iterable[Any]) -> Shape:
    """A user's window (z, y, x) in voxels. Raises `SettingsError` for anything but three whole numbers above 0."""
    return _triple(_three(values, "patch_size", whole=True))


def _fitting(shape: NDArray[Any]) -> Shape:
    """A window of the proportions of `shape` that can be halved down to `SMALLEST` voxels or little more."""
    size = np.maximum(shape, SMALLEST)
    size = size * min(1.0, (LARGEST_PATCH / size.prod()) ** (1 / 3))
    step = 2 ** np.clip(np.floor(np.log2(size / SMALLEST)), 0, HALVINGS)
    up, down = np.ceil(size / step) * step, np.floor(size / step) * step
    return _triple(up if up.prod() <= LARGEST_PATCH else np.maximum(down, SMALLEST))


def _with_intensities(plan: Plan, facts: Mapping[str, Any]) -> Plan:
    """By the labelled voxels of CT, else each image by itself."""
    foreground = facts.get("foreground")
    is_ct = set(facts.get("intensities", ())) == {"hu"} and facts.get("channels", 1) == 1
    if not is_ct or not foreground or not foreground["std"] > 0:
        return plan
    return replace(
        plan,
        normalisation="ct",
        percentile_low=float(foreground["percentile_00_5"]),
        percentile_high=float(foreground["percentile_99_5"]),
        mean=float(foreground["mean"]),
        std=float(foreground["std"]),
    )


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


def _triple(values: Iterable[Any]) -> Shape:
    z, y, x = (int(value) for value in values)
    return z, y, x

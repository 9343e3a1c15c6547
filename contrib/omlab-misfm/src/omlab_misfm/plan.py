"""Windows and spacings for a data set, and what a user says of them. All triples are (z, y, x)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from omlab.errors import SettingsError
from omlab_misfm.fusion import block_range
from omlab_misfm.levels import Triple
from omlab_volume.inference.resample import Spacing, resampled_shape
from omlab_volume.training.planning import window_of


def fitting_patch(facts: Mapping[str, Any], *, largest: Triple, stride: Triple, spacing: Spacing | None) -> Triple:
    """The largest window up to `largest` that the median case fills.

    Args:
        facts: `spacings` and `shapes` of cases (`omlab_volume.training.survey`); without any, `largest` it is.
        largest: The published window, or what the network has.
        stride: By what the network needs it divisible.
        spacing: What cases are resampled to; None: their own.
    """
    if not facts.get("shapes"):
        return largest
    shapes = [
        tuple(shape) if spacing is None else resampled_shape(tuple(shape), spacing=tuple(own), target=spacing)
        for shape, own in zip(facts["shapes"], facts["spacings"], strict=True)
    ]
    median = np.median(shapes, axis=0)
    sides = [max(step, int(min(n, most)) // step * step) for n, most, step in zip(median, largest, stride, strict=True)]
    if tuple(sides) == stride:  # one voxel at the lowest level cannot be normalised
        axis = int(np.argmax(median / np.array(stride)))
        sides[axis] *= 2
    z, y, x = sides
    return z, y, x


def checked_patch(values: Sequence[Any], *, stride: Triple) -> Triple:
    """A user's window. Raises `SettingsError` for anything but three multiples of `stride`, not all of them stride."""
    z, y, x = window_of(values)
    if any(n % step for n, step in zip((z, y, x), stride, strict=True)):
        raise SettingsError(
            f"patch_size is {list(values)}, but this network needs multiples of {list(stride)} (z,y,x)."
        )
    if (z, y, x) == stride:
        raise SettingsError(f"patch_size is {list(values)}, which leaves one voxel to normalise: make it larger.")
    return z, y, x


def checked_blocks(shortest: Sequence[Any], longest: Sequence[Any], *, patch: Triple) -> tuple[Triple, Triple]:
    """A user's shortest and longest sides of blocks; what is empty is in proportion to the published ones.

    Raises `SettingsError` where a block could be longer than the patch, or the shortest is not the shorter one.
    """
    low, high = block_range(patch)
    low = _sides(shortest, "smallest_block") if shortest else low
    high = _sides(longest, "largest_block") if longest else high
    if any(not a <= b <= n for a, b, n in zip(low, high, patch, strict=True)):
        raise SettingsError(
            f"Blocks of {list(low)} to {list(high)} voxels cannot be in patches of {list(patch)}: smallest_block is at "
            "most largest_block, and that at most the patch."
        )
    return low, high


def checked_range(values: Sequence[Any]) -> tuple[float, float] | None:
    """A user's range of values, None where it is empty. Raises `SettingsError`."""
    if not values:
        return None
    numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(values) != 2 or len(numbers) != 2 or not numbers[0] < numbers[1]:
        raise SettingsError(f"clip is {list(values)}, but must be two numbers, the lower one first.")
    return numbers[0], numbers[1]


def _sides(values: Sequence[Any], name: str) -> Triple:
    if len(values) != 3 or not all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in values):
        raise SettingsError(f"{name} is {list(values)}, but must be three whole numbers above 0 (z,y,x).")
    z, y, x = values
    return z, y, x

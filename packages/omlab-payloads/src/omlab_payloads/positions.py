"""Positions of boxes and points: in the pixels or voxels of the input, or in the world."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal, cast, get_args

from omlab.errors import UsageError

Space = Literal["pixel", "voxel", "world"]
"""`pixel`: (x, y), to the right and down, of an image. `voxel`: (i, j, k) in the file's own order of axes. The centre
of the first pixel or voxel is 0, whole numbers are centres. `world`: (x, y, z) in mm, RAS+."""

Position = tuple[float, ...]


def checked_space(value: Any) -> Space:
    """A space. Raises `UsageError`."""
    if value not in get_args(Space):
        raise UsageError(f"The space must be {', '.join(get_args(Space))}, not {value!r}.")
    return cast(Space, value)


def checked_position(at: Sequence[float], *, space: Space, what: str) -> Position:
    """A position as floats: two numbers in pixels, three elsewhere. Raises `UsageError`."""
    numbers = tuple(float(value) for value in at)
    wanted = 2 if space == "pixel" else 3
    if len(numbers) != wanted:
        raise UsageError(f"{what} has {len(numbers)} numbers, but a position in {space} space has {wanted}.")
    return numbers


def all_finite(positions: Iterable[Position]) -> bool:
    """Whether no number is NaN or infinite."""
    return all(math.isfinite(value) for at in positions for value in at)


def lie_in(positions: Iterable[Position], other: Any, *, space: Space) -> bool:
    """Whether positions can mean what they mean in `other`: an input, or what lies in one.

    What has a `space` of its own must have the same. In pixels and voxels they must lie in its lattice, where it says
    one (the shape of its `grid`, or its own: rows x columns for pixels); for world positions it must have an `affine`.
    """
    theirs = getattr(other, "space", None)
    if theirs is not None:
        return bool(theirs == space)
    if space == "world":
        return getattr(other, "affine", None) is not None
    shape = getattr(getattr(other, "grid", other), "shape", ())
    if len(shape) != (2 if space == "pixel" else 3):
        return True
    sizes = tuple(shape)[::-1] if space == "pixel" else tuple(shape)
    # a pixel reaches half its size beyond its centre
    return all(-0.5 <= x <= n - 0.5 for at in positions for x, n in zip(at, sizes, strict=True))

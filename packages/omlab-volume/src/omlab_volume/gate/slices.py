"""Slices that are missing, repeated or empty: each slice held against its neighbours.

Along the axis whose voxels are longest (z where none is), since slices are lost there. A gap that is no longer than a
slice or two changes no more than anatomy does, and is not seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab_volume.gate.look import Look

NEIGHBOURS = 4
"""Steps on either side that a step between slices is held against."""
JUMP = 1.7
"""How many times the largest step around it a step is that tells of missing slices."""
_PIXELS = 48
"""Means of a slice along each of its axes: noise goes, anatomy stays."""
_PER_BLOCK = 4
"""Pixels of a block along each axis, at least, where there are so many."""


def slice_axis(look: Look) -> int:
    """The axis along which slices were taken: the one with the longest voxels, else z."""
    spacing = look.spacing
    longest = int(np.argmax(spacing))
    return longest if spacing[longest] > 1.3 * sorted(spacing)[1] else 0


def check_slices(look: Look, axis: int) -> tuple[list[str], dict[str, Any]]:
    """Doubts about the slices along an axis, and the largest jump between two, in steps of those around it."""
    slices = np.moveaxis(look.whole, axis, 0)
    if len(slices) < 4 * NEIGHBOURS:
        return [], {}
    small = np.stack([_small(one) for one in slices])
    doubts = _empty(small)
    small = small[small.std(axis=(1, 2)) > 0]
    if len(small) < 4 * NEIGHBOURS:
        return doubts, {}
    changes = np.abs(np.diff(small, axis=0)).mean(axis=(1, 2))
    usual = float(np.median(changes))
    if usual == 0:
        return doubts, {}
    same = int((changes <= 1e-3 * usual).sum())
    if same:
        which = "One slice is" if same == 1 else f"{same} slices are"
        doubts.append(f"{which} the same as the one before: repeated in place of another?")
    jumps = np.array([_jump(changes, at, floor=usual) for at in range(len(changes))])
    worst = int(jumps.argmax())
    if jumps[worst] > JUMP:
        doubts.append(
            f"Between slices {worst + 1} and {worst + 2} of {len(small)} the image changes {jumps[worst]:.1f} times as "
            "much as around them: slices are missing there, or the patient moved."
        )
    return doubts, {"largest_jump": round(float(jumps[worst]), 2)}


def _jump(changes: NDArray[Any], at: int, *, floor: float) -> float:
    """A change over the largest around it."""
    around = [*changes[max(0, at - NEIGHBOURS) : at], *changes[at + 1 : at + 1 + NEIGHBOURS]]
    return float(changes[at] / max(*around, floor))


def _empty(small: NDArray[Any]) -> list[str]:
    """A doubt about slices of one value between others."""
    used = np.flatnonzero(small.std(axis=(1, 2)) > 0)
    if not used.size:
        return []
    inside = int(used[-1] - used[0] + 1 - used.size)
    which = "One slice between others shows" if inside == 1 else f"{inside} slices between others show"
    return [f"{which} nothing: lost, or filled in."] if inside else []


def _small(plane: NDArray[Any]) -> NDArray[np.float32]:
    """A slice as means of blocks, of large ones of every n-th pixel; what is no finite number counts as 0."""
    rows, columns = (max(1, n // (_PER_BLOCK * _PIXELS)) for n in plane.shape)
    values = np.nan_to_num(np.asarray(plane[::rows, ::columns], np.float32), nan=0, posinf=0, neginf=0)
    for axis in range(2):
        block = max(1, values.shape[axis] // _PIXELS)
        kept = values.shape[axis] // block * block
        parts = values.take(range(kept), axis=axis)
        shape = (*parts.shape[:axis], kept // block, block, *parts.shape[axis + 1 :])
        values = parts.reshape(shape).mean(axis=axis + 1)
    return np.asarray(values, np.float32)

"""Simulated clicks against a reference, for evaluation: where a user would click next.

Both rules choose among candidate voxels in C order by `draw(count)`, which gives a number below `count`:
`numpy.random.Generator.integers` will do. The mask is where the logits of the round before are > 0; the authors'
training takes > 0.5 there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from omlab.errors import UsageError
from omlab_prompts.picking import depth
from omlab_prompts.prompts import Point

Mask = NDArray[np.bool_]
Draw = Callable[[int], int]


def random_click(mask: Mask, reference: Mask, *, draw: Draw) -> Point:
    """A click on any wrong voxel (I, J, K); where none is wrong, on any voxel of the object.

    Raises `UsageError` where the shapes differ, or nothing is wrong and there is no object.
    """
    _check(mask, reference)
    wrong = mask != reference
    return _chosen(wrong if wrong.any() else reference, reference, draw=draw)


def ritm_click(mask: Mask, reference: Mask, *, draw: Draw) -> Point:
    """A click deep in the error: RITM's rule (Sofiiuk et al., arXiv 2102.06583).

    Of what was missed and what is false, the kind that reaches deeper wins (false where both are as deep);
    candidates are its voxels more than half as deep, the border of the volume counting as the error's border.
    Where nothing is wrong it is `random_click`, which also says what is raised.
    """
    _check(mask, reference)
    missed, false = (depth(kind) for kind in (reference & ~mask, mask & ~reference))
    deep = missed if missed.max() > false.max() else false
    if deep.max() == 0:
        return random_click(mask, reference, draw=draw)
    return _chosen(deep > deep.max() / 2, reference, draw=draw)


def _chosen(candidates: Mask, reference: Mask, *, draw: Draw) -> Point:
    places = np.argwhere(candidates)
    i, j, k = (int(n) for n in places[int(draw(len(places)))])
    return Point(at=(i, j, k), label=1 if reference[i, j, k] else 0)


def _check(mask: Mask, reference: Mask) -> None:
    if mask.shape != reference.shape or mask.ndim != 3:
        raise UsageError(f"Mask and reference must be (I, J, K) of one shape, not {mask.shape} and {reference.shape}.")
    if not mask.any() and not reference.any():
        raise UsageError("There is nothing to click on: both the mask and the reference are empty.")

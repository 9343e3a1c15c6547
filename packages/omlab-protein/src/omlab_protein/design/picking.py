"""A plate: the mean of an ensemble's heads and the heads themselves take the mutants of which they expect most.

The mean picks what is best by all that is known. A head by itself picks what may be best: Thompson sampling in a batch
(Kandasamy et al., Parallelised Bayesian Optimisation via Thompson Sampling, AISTATS 2018). Where heads agree they
take the same sort of mutants; where little is known they differ, so that their picks are diverse and tell what they
disagree on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from omlab_protein.design.heads import Floats


class Pick(NamedTuple):
    """The number of a mutant, and whether a head picked it, not their mean."""

    number: int
    by_head: bool


def take_turns(values: Floats, *, count: int, explore: float) -> list[Pick]:
    """`count` of N mutants in the order of picking, by what heads say of them (N, heads).

    A share `explore` of the picks, evenly over the plate, is of heads, each in its turn; the mean takes the others.
    """
    said = np.concatenate([values.mean(axis=1)[None], values.T])
    picks: list[Pick] = []
    for number in range(min(count, len(values))):
        turn = int((number + 1) * explore)
        by_head = turn > int(number * explore)
        taken = int(said[1 + (turn - 1) % values.shape[1] if by_head else 0].argmax())
        said[:, taken] = -np.inf
        picks.append(Pick(taken, by_head))
    return picks


def favourites(values: Floats, *, each: int) -> list[int]:
    """The numbers of the mutants that are among the best `each` of some head, or of their mean; by number."""
    each = min(each, len(values))
    said = np.concatenate([values.mean(axis=1)[None], values.T])
    best = np.argpartition(-said, each - 1, axis=1)[:, :each]
    return np.unique(best).tolist()  # type: ignore[no-any-return]

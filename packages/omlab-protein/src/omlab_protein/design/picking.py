"""A plate: the heads of an ensemble take turns, and each takes the mutant of which it expects most.

That is Thompson sampling in a batch (Kandasamy et al., Parallelised Bayesian Optimisation via Thompson Sampling,
AISTATS 2018): where heads agree they take the same sort of mutants; where little is known they differ, so that a
plate is diverse and tells what they disagree on.
"""

from __future__ import annotations

import numpy as np

from omlab_protein.design.heads import Floats


def take_turns(values: Floats, *, count: int) -> list[int]:
    """The numbers of `count` of N mutants in the order of picking, by what heads say of them (N, heads)."""
    by_head = np.ascontiguousarray(values.T)
    picks: list[int] = []
    for turn in range(min(count, len(values))):
        number = int(by_head[turn % len(by_head)].argmax())
        by_head[:, number] = -np.inf
        picks.append(number)
    return picks


def favourites(values: Floats, *, each: int) -> list[int]:
    """The numbers of the mutants that are among the best `each` of some head, by number."""
    each = min(each, len(values))
    best = np.argpartition(np.ascontiguousarray(-values.T), each - 1, axis=1)[:, :each]
    return np.unique(best).tolist()  # type: ignore[no-any-return]

"""One round of a design: from what was measured and a model's scores to the plate that is measured next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from omlab_protein.design.heads import Floats, Heads, Mutant, Points
from omlab_protein.design.picking import take_turns
from omlab_protein.design.space import Space, search

EXPECTED, UNKNOWN = "expected", "hoped for"
"""Why a mutant is on a plate: the mean of the heads picked it, or one head by itself."""
CANDIDATES, LEAST = 4, 256
"""Of the search, for each pick and at least: the model scores them."""

Score = Callable[[Sequence[Mutant]], Floats]
"""A model's scores (N,) of mutants: larger is better."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A mutant of the plate: the mean and the standard deviation of what heads say, the model's score, and why."""

    mutant: Mutant
    mean: float
    spread: float
    score: float
    why: str


def propose(
    space: Space, score: Score, measured: Mapping[Mutant, float], *, count: int, explore: float, seed: int
) -> list[Proposal]:
    """The plate, in the order of picking; shorter where the search finds fewer mutants.

    The search takes the model's score of a mutant as the sum of those of its substitutions; the candidates that it
    finds are then scored as they are.

    Args:
        space: What may be proposed.
        score: Asked for the wild type and single substitutions, the measured mutants, and the candidates.
        measured: What is known; () is the wild type. It need not be of the space.
        count: How many mutants to propose.
        explore: The share of the plate that single heads pick; their mean picks the others.
        seed: Of heads and search: the same inputs and seed give the same plate.
    """
    singles, known = space.singles(), list(measured)
    told = score([(), *singles, *known])
    alone = told[1 : len(singles) + 1] - told[0]
    unit = float(np.std(alone)) or 1.0
    effect = {one: value for (one,), value in zip(singles, (alone / unit).tolist(), strict=True)}
    points = Points(known, (told[len(singles) + 1 :] - told[0]) / unit)
    heads = Heads(points, np.array([measured[mutant] for mutant in known]), seed=seed)

    def says(mutants: Sequence[Mutant]) -> Floats:
        return heads.values(Points(mutants, np.array([sum(effect[one] for one in mutant) for mutant in mutants])))

    found = search(
        space,
        says,
        known=measured,
        start=sorted(measured, key=measured.__getitem__, reverse=True)[:count],
        most=max(LEAST, CANDIDATES * count),
        explore=explore,
        chance=Random(seed),  # noqa: S311 - a search, no secret
    )
    own = score(found)
    values = heads.values(Points(found, (own - told[0]) / unit))
    mean, spread = values.mean(axis=1), values.std(axis=1)
    return [
        Proposal(
            mutant=found[number],
            mean=float(mean[number]),
            spread=float(spread[number]),
            score=float(own[number]),
            why=UNKNOWN if by_head else EXPECTED,
        )
        for number, by_head in take_turns(values, count=count, explore=explore)
    ]

"""How well annotators agree: Kendall's tau-b of two rankings, Krippendorff's alpha of all ranks and scores."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from omlab_text.label.store import Entry

Level = Literal["ordinal", "interval"]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Over the questions that two or more annotators finished.

    Attributes:
        questions: How many these are.
        tau: The mean of Kendall's tau-b over pairs of annotators and questions; None where it is defined for none.
        ranks: Krippendorff's alpha of the ranks (ordinal), a unit being an answer; None where all ranks are one.
        scores: Krippendorff's alpha (interval), by axis.
    """

    questions: int
    tau: float | None
    ranks: float | None
    scores: Mapping[str, float | None]


def agreement(kept: Sequence[Entry], *, axes: Sequence[str]) -> Agreement:
    """Of annotators' finished labels; an adjudicator's do not count, for these come after a dispute."""
    by_question = defaultdict[str, list[Entry]](list)
    for entry in kept:
        if entry.role == "annotator" and entry.label.state == "done":
            by_question[entry.question].append(entry)
    shared = [found for found in by_question.values() if len(found) > 1]
    pairs = [(one.label.ranks, other.label.ranks) for found in shared for one, other in combinations(found, 2)]
    taus = [tau for tau in (tau_b(*pair) for pair in pairs) if tau is not None]
    ranks: _Values = {}
    scores: dict[str, _Values] = {axis: {} for axis in axes}
    for entry in (entry for found in shared for entry in found):
        for answer, rank in entry.label.ranks.items():
            ranks[entry.annotator, (entry.question, answer)] = rank
        for answer, given in entry.label.scores.items():
            for axis, score in given.items():
                scores[axis][entry.annotator, (entry.question, answer)] = score
    return Agreement(
        questions=len(shared),
        tau=sum(taus) / len(taus) if taus else None,
        ranks=alpha(ranks, level="ordinal"),
        scores={axis: alpha(values, level="interval") for axis, values in scores.items()},
    )


def tau_b(first: Mapping[str, int], second: Mapping[str, int]) -> float | None:
    """Kendall's tau-b of two rankings of the same answers; None where one of them ties all.

    Source: Kendall, The treatment of ties in ranking problems, Biometrika 33 (1945).
    """
    from scipy.stats import kendalltau  # type: ignore[import-untyped]

    if len(set(first.values())) < 2 or len(set(second.values())) < 2:
        return None
    answers = sorted(first)
    tau = kendalltau([first[answer] for answer in answers], [second[answer] for answer in answers]).statistic
    return float(tau)


def differ(first: Mapping[str, int], second: Mapping[str, int], *, below: float) -> bool:
    """Whether tau-b is below that; where one ranking ties all, whether the other does not."""
    tau = tau_b(first, second)
    return first != second if tau is None else tau < below


_Values = dict[tuple[str, tuple[str, str]], int]
"""By annotator and unit."""


def alpha(values: _Values, *, level: Level) -> float | None:
    """Krippendorff's alpha; None where no two annotators gave a value to the same unit, or all values are one.

    Source: Krippendorff, Computing Krippendorff's alpha-reliability (2011).
    """
    import krippendorff

    by_unit = defaultdict[tuple[str, str], list[int]](list)
    for (_, unit), value in values.items():
        by_unit[unit].append(value)
    paired = {unit for unit, given in by_unit.items() if len(given) > 1}
    if len({value for unit in paired for value in by_unit[unit]}) < 2:
        return None
    annotators = sorted({annotator for annotator, _ in values})
    table = [[float(values.get((annotator, unit), math.nan)) for unit in sorted(paired)] for annotator in annotators]
    return float(krippendorff.alpha(reliability_data=table, level_of_measurement=level))

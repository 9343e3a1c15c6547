"""The figures of all answers: points earned, by tag, and agreement with experts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.roles import Metric
from omlab_evaluators.bootstrap import CaseRows, Estimate, Floats, bootstrap_figures, groups_of, ratio
from omlab_evaluators.measures import Measure
from omlab_evaluators.rubric.scores import agreement, expert_pairs, score, table

Row = Mapping[str, Any]

SCORE = Measure("score", "Score", help="points earned of those that can be earned; the mean is clipped to 0..1")
MET = Measure("met", "Merits met", help="criteria with points above 0 that are met")
FAULTS = Measure("faults", "Faults", higher_is_better=False, help="criteria with points below 0 that are met")
UNREAD = Measure("unread", "No verdict", higher_is_better=False, help="criteria on which no reply could be read")
OF_EXPERTS = (
    Measure("agreement", "Agrees with experts", help="verdicts that are an expert's mark"),
    Measure("macro_f1", "Macro F1 of verdicts", help="mean F1 of met and not met, against experts' marks"),
    Measure("kappa", "Kappa of verdicts", help="agreement with experts beyond chance (Cohen 1960)"),
    Measure("experts", "Experts agree", help="pairs of experts' marks on a criterion that agree"),
)
MEASURES = (SCORE, MET, FAULTS, UNREAD, *OF_EXPERTS)


class Judged:
    """What was measured, a row an answer, and the figures of all of it for weighed answers."""

    def __init__(self, rows: CaseRows) -> None:
        self.names = list(rows)
        self.rows: Sequence[Row] = [case[0] for case in rows.values()]
        self.groups = groups_of(rows)

    @cached_property
    def scores(self) -> Floats:
        """Of each answer, not clipped; NaN where nothing can be earned, (answers,)."""
        return np.array([score(row["criteria"]) for row in self.rows])

    @cached_property
    def tags(self) -> Mapping[str, Floats]:
        """By tag the score of each answer, (answers,); NaN where it has no part in it.

        A criterion's tag is scored by the criteria that have it, a question's tag by all of its criteria.
        """
        found: dict[str, list[float]] = {}
        names = {tag for row in self.rows for tag in row["tags"]}
        names |= {tag for row in self.rows for criterion in row["criteria"] for tag in criterion["tags"]}
        for tag in sorted(names):
            found[tag] = [
                score(row["criteria"] if tag in row["tags"] else [c for c in row["criteria"] if tag in c["tags"]])
                for row in self.rows
            ]
        return {tag: np.array(values) for tag, values in found.items()}

    def figures(self, weights: Floats) -> Floats:
        """How often each answer counts, (rounds, answers) -> (rounds, measures); NaN: not defined."""
        shares = [ratio(weights @ above, weights @ below) for above, below in self._shares]
        mean = clipped_mean(self.scores, weights)
        of_experts = agreement(weights @ self._tables)
        *of_answers, experts = shares
        return np.stack([mean, *of_answers, *np.moveaxis(of_experts, -1, 0), experts], axis=1)

    @property
    def rests_on(self) -> NDArray[np.bool_]:
        """The answers that each figure rests on, (measures, answers)."""
        *of_answers, experts = [below > 0 for _, below in self._shares]
        marked = self._tables.sum(axis=1) > 0
        return np.array([np.isfinite(self.scores), *of_answers, marked, marked, marked, experts])

    @cached_property
    def _tables(self) -> Floats:
        return np.array([table(row["criteria"]) for row in self.rows], dtype=float)

    @cached_property
    def _shares(self) -> Sequence[tuple[Floats, Floats]]:
        """By measure what is counted in each answer, and of how many: merits, faults, unread, experts' pairs."""

        def counted(of: Callable[[Row], bool], what: Callable[[Row], bool]) -> tuple[Floats, Floats]:
            chosen = [[criterion for criterion in row["criteria"] if of(criterion)] for row in self.rows]
            above = np.array([float(sum(map(what, found))) for found in chosen])
            return above, np.array([float(len(found)) for found in chosen])

        pairs = np.array([expert_pairs(row["criteria"]) for row in self.rows], dtype=float)
        return [
            counted(lambda c: c["points"] > 0 and c["met"] is not None, lambda c: bool(c["met"])),
            counted(lambda c: c["points"] < 0 and c["met"] is not None, lambda c: bool(c["met"])),
            counted(lambda c: True, lambda c: c["met"] is None),
            (pairs[:, 0], pairs[:, 1]),
        ]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The figures of all answers with their intervals, and the score by tag."""

    judged: Judged
    whole: Mapping[str, Estimate]
    tags: Mapping[str, Estimate]

    @property
    def shown(self) -> Sequence[Measure]:
        """The measures that have a value: without experts' marks some have none."""
        return [measure for measure in MEASURES if self.whole[measure.key].value is not None]


def clipped_mean(scores: Floats, weights: Floats) -> Floats:
    """The mean score of weighed answers, clipped to 0..1, (rounds,); NaN where no answer that counts has one."""
    known = np.isfinite(scores)
    return np.clip(ratio(weights @ np.where(known, scores, 0.0), weights @ known.astype(float)), 0, 1)


def summarise(rows: CaseRows, *, rounds: int, seed: int) -> Summary:
    """Figures with intervals: answers to questions of one group are drawn together."""
    judged = Judged(rows)
    tags = judged.tags

    def figures(weights: Floats) -> Floats:
        by_tag = [clipped_mean(scores, weights)[:, None] for scores in tags.values()]
        return np.concatenate([judged.figures(weights), *by_tag], axis=1)

    rests_on = np.concatenate([judged.rests_on, *(np.isfinite(scores)[None] for scores in tags.values())])
    estimates = bootstrap_figures(figures, rests_on=rests_on, groups=judged.groups, rounds=rounds, seed=seed)
    count = len(MEASURES)
    return Summary(
        judged=judged,
        whole={measure.key: found for measure, found in zip(MEASURES, estimates[:count], strict=True)},
        tags=dict(zip(tags, estimates[count:], strict=True)),
    )


def metrics_of(summary: Summary) -> list[Metric]:
    """Each measure of the whole, then the score by tag."""
    metrics = [measure.metric(summary.whole[measure.key]) for measure in summary.shown]
    return metrics + [SCORE.metric(found, label=tag) for tag, found in summary.tags.items()]

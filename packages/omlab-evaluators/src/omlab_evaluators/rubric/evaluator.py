"""Evaluator `rubric`: which criteria an answer meets, as a judge finds, and what share of the points it earns.

The score of an answer is that of HealthBench (Arora et al. 2025, arXiv:2505.08775): the points of all criteria that it
meets over the sum of those that can be earned; the mean over answers is clipped to 0..1.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omlab.abilities import Resampled
from omlab.errors import InputError
from omlab.roles import Report, Sample
from omlab_evaluators.bootstrap import CaseRows
from omlab_evaluators.rubric.asking import Asked, Recorded, Replies, verdicts
from omlab_evaluators.rubric.summary import MEASURES, Judged, metrics_of, summarise
from omlab_text.judging.consent import require_consent
from omlab_text.judging.http_judge import HttpJudge
from omlab_text.judging.opening import JudgeSettings, open_judge, recorded_path


def load(card: Any, *, settings: Mapping[str, Any]) -> RubricEvaluator:
    """The evaluator of the card, with complete settings. Raises `OmlabError` where there is no such judge."""
    chosen = JudgeSettings.of(settings)
    path = recorded_path(chosen.judge)
    replies: Replies
    if path is not None:
        replies = Recorded(path, judge=chosen.judge_model)
    else:
        judge = open_judge(chosen)
        if isinstance(judge, HttpJudge):
            work = "a request for each answer and criterion"
            require_consent(work, judge.server, priced=False, yes=settings["yes"], say="-s yes=true")
        replies = Asked(judge, Path(settings["replies"]))
    return RubricEvaluator(replies, attempts=settings["attempts"], rounds=settings["bootstrap"], seed=settings["seed"])


class RubricEvaluator:
    """Has a judge say of each criterion whether an answer meets it.

    Args:
        replies: Of the judge.
        attempts: How often it is asked for a reply that can be read.
        rounds: Of the bootstrap.
        seed: Of the bootstrap.
    """

    headline = "score"

    def __init__(self, replies: Replies, *, attempts: int = 3, rounds: int = 1000, seed: int = 0) -> None:
        self.replies, self.attempts, self.rounds, self.seed = replies, attempts, rounds, seed

    def measure(self, sample: Sample, result: Any, folder: Path) -> list[dict[str, Any]]:
        """A row: what was asked and answered, and by criterion whether it is met (None: no reply could be read).

        Raises:
            InputError: The result is no answer, or there is no recorded reply on it.
            OmlabError: The judge gives no reply.
        """
        target: Any = sample.target
        *asked, last = result.turns
        if last.role != "assistant":
            raise InputError(f"Case {sample.id}: the chat does not end with an answer of the assistant.")
        found = verdicts(
            [criterion.text for criterion in target.criteria],
            case=sample.id,
            asked=asked,
            answer=last.text,
            replies=self.replies,
            attempts=self.attempts,
        )
        marked = sample.meta.get("answer") in (None, last.text)
        return [
            {
                "group": sample.group,
                "tags": list(sample.meta.get("tags", ())),
                "judge": self.replies.judge,
                "asked": [[turn.role, turn.text] for turn in asked],
                "answer": last.text,
                "marks_of_another": not marked and any(criterion.marks for criterion in target.criteria),
                "criteria": [
                    {
                        "criterion": criterion.text,
                        "points": criterion.points,
                        "tags": list(criterion.tags),
                        "experts": dict(criterion.marks) if marked else {},
                        "met": None if verdict is None else verdict.met,
                        "reason": "" if verdict is None else verdict.reason,
                    }
                    for criterion, verdict in zip(target.criteria, found, strict=True)
                ],
            }
        ]

    def resampled(self, rows: CaseRows) -> Resampled:
        """The figures of all questions, for weighed cases (`omlab.abilities.Resamples`)."""
        return Resampled(measures=[measure.open() for measure in MEASURES], figures=Judged(rows).figures)

    def report(self, rows: CaseRows, folder: Path) -> Report:
        """Figures with intervals, also by tag; writes `report.html` and `criteria.csv`."""
        # The page draws figures: its imports would slow down every measurement.
        from omlab_evaluators.rubric.page import write_report

        rows = dict(sorted(rows.items()))  # draws go by the order of groups, which must not depend on the run's
        summary = summarise(rows, rounds=self.rounds, seed=self.seed)
        notes = write_report(summary, rounds=self.rounds, seed=self.seed, folder=folder)
        return Report(metrics=metrics_of(summary), notes=notes)

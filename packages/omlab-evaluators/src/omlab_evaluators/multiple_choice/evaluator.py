"""Evaluator `multiple-choice`: is the right option chosen, and still when the options are rotated.

What is judged is how likely each option is (`likelihoods`), or a written answer (`chat`), from which the option is read
by a rule (`chosen.named`). Cases that differ in the rotation of their options say so in their meta: `question`, the
same for all rotations, and `rotation`, the place in the question as written of the option that comes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omlab.abilities import Resampled
from omlab.errors import InputError
from omlab.roles import Report, Sample
from omlab_evaluators.bootstrap import CaseRows
from omlab_evaluators.multiple_choice.chosen import BYS, By, likeliest, named, probabilities, scores
from omlab_evaluators.multiple_choice.summary import judged, metrics_of, summarise

LIKELIHOODS = "likelihoods"


def load(card: Any, *, settings: Mapping[str, Any]) -> MultipleChoiceEvaluator:
    """The evaluator of the card, with complete settings."""
    return MultipleChoiceEvaluator(by=settings["by"], rounds=settings["bootstrap"], seed=settings["seed"])


class MultipleChoiceEvaluator:
    """Compares the option that a model chose with the right one.

    Args:
        by: Which option is the likeliest: by its log-probability as it is, of a token or of a byte in the mean.
        rounds: Of the bootstrap.
        seed: Of the bootstrap.
    """

    headline = "accuracy"

    def __init__(self, *, by: By = "sum", rounds: int = 1000, seed: int = 0) -> None:
        self.by, self.rounds, self.seed = by, rounds, seed

    def measure(self, sample: Sample, result: Any, folder: Path) -> list[dict[str, Any]]:
        """A row: what was chosen (None: no option could be read), what is right, whose and which question it is.

        `chosen` and `answer` are places among the options as they were shown. Of likelihoods the row also has what is
        chosen by each normalisation (`by_sum`, `by_token`, `by_byte`) and `probability`, that of the chosen option.

        Raises `InputError` where there is no right option, or the result is about other options.
        """
        target: Any = sample.target
        if target is None or target.answer is None:
            raise InputError(f"Case {sample.id} has no right option to compare with.")
        question = str(sample.meta.get("question", sample.id))
        return [
            {
                "question": question,
                "group": sample.group,
                "subject": sample.meta.get("subject"),
                "rotation": sample.meta.get("rotation", 0),
                "options": len(target.texts),
                "answer": target.answer,
                **self._chosen(result, target.texts, case=sample.id),
            }
        ]

    def resampled(self, rows: CaseRows) -> Resampled:
        """The figures of all questions, for weighed cases (`omlab.abilities.Resamples`)."""
        found = judged(rows)
        return Resampled(measures=[measure.open() for measure in found.measures], figures=found.figures)

    def report(self, rows: CaseRows, folder: Path) -> Report:
        """Figures with intervals, also by subject; writes `report.html` and `cases.csv`.

        Raises `InputError` where some results are likelihoods and others written answers.
        """
        # The page draws figures: its imports would slow down every measurement.
        from omlab_evaluators.multiple_choice.page import write_report

        rows = dict(sorted(rows.items()))  # draws go by the order of groups, which must not depend on the run's
        summary = summarise(rows, rounds=self.rounds, seed=self.seed)
        notes = write_report(summary, by=self.by, rounds=self.rounds, seed=self.seed, folder=folder)
        return Report(metrics=metrics_of(summary), notes=notes)

    def _chosen(self, result: Any, options: tuple[str, ...], *, case: str) -> dict[str, Any]:
        if result.kind != LIKELIHOODS:
            return {"chosen": named(result.in_words(), options)}
        if result.texts != options:
            raise InputError(f"Case {case}: the likelihoods are of other options than the question's.")
        values = {by: scores(result.logprobs, result.tokens, result.bytes, by=by) for by in BYS}
        chosen = likeliest(values[self.by])
        return {
            "chosen": chosen,
            "probability": probabilities(values[self.by])[chosen],
            **{f"by_{by}": likeliest(found) for by, found in values.items()},
        }

"""What an annotator says of the answers to a question, and the check that it can be said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from omlab.errors import InputError

State = Literal["draft", "done", "skipped", "escalated"]
LEAST, BEST = 1, 10
"""Scores on an axis."""
LONGEST = 4000
"""Characters of a note."""


class Label(BaseModel):
    """Of one question and annotator; answers are named by their ids.

    Attributes:
        state: `draft` until every answer has a rank and the annotator says so.
        ranks: 1 is the best, equal ranks are ties, and no rank is left out.
        scores: From 1 to 10, by answer and axis; as many as were given.
        tags: Reasons, by answer.
        seconds: That the question was looked at.
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    state: State
    ranks: dict[str, int] = {}
    scores: dict[str, dict[str, int]] = {}
    tags: dict[str, list[str]] = {}
    note: str = Field(default="", max_length=LONGEST)
    seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    def renamed(self, names: Mapping[str, str]) -> Label:
        """The same of answers under other names."""
        parts = {
            part: {names[answer]: value for answer, value in getattr(self, part).items()}
            for part in ("ranks", "scores", "tags")
        }
        return self.model_copy(update=parts)


def read_label(value: Any, *, answers: Sequence[str], axes: Sequence[str], tags: Sequence[str]) -> Label:
    """The label that stands in a request. Raises `InputError` that says what is wrong with it."""
    try:
        label = Label.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{'.'.join(map(str, first['loc'])) or 'label'}: {first['msg']}.") from None
    for part in (label.ranks, label.scores, label.tags):
        _check_known(part, answers, what="answer")
    for scores in label.scores.values():
        _check_known(scores, axes, what="axis")
        if not all(LEAST <= score <= BEST for score in scores.values()):
            raise InputError(f"Scores go from {LEAST} to {BEST}.")
    for given in label.tags.values():
        _check_known(given, tags, what="tag")
    if set(label.ranks.values()) != set(range(1, len(set(label.ranks.values())) + 1)):
        raise InputError("Ranks go from 1 on, and none is left out.")
    if label.state == "done" and len(label.ranks) < len(answers):
        raise InputError(f"{len(answers) - len(label.ranks)} of {len(answers)} answers have no rank yet.")
    return label


def _check_known(given: Any, known: Sequence[str], *, what: str) -> None:
    unknown = next((name for name in given if name not in known), None)
    if unknown is not None:
        raise InputError(f"There is no {what} '{unknown}'.")

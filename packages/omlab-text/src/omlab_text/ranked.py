"""The kind `ranking`: answers to one prompt, in the order of their worth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from omlab.errors import InputError

FEWEST = 2
"""Answers that can be compared."""


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Answers and what was said of them.

    Attributes:
        texts: At least two.
        ranks: 1 is the best, equal ranks are ties.
        margin: By how much the scores of neighbours in rank are to differ; None: nobody said.
        scores: Of each answer by axis, as far as they were given.
        tags: Reasons that were given for each.

    Raises `InputError` where there are fewer answers, or these do not belong together.
    """

    kind: ClassVar[str] = "ranking"

    texts: tuple[str, ...]
    ranks: tuple[int, ...]
    margin: float | None = None
    scores: tuple[Mapping[str, float], ...] = field(default=())
    tags: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        count = len(self.texts)
        if count < FEWEST:
            raise InputError(f"answers: there are {count}, but only {FEWEST} or more can be ranked.")
        for name, given in (("ranks", self.ranks), ("scores", self.scores), ("tags", self.tags)):
            if len(given) not in ((count,) if name == "ranks" else (0, count)):
                raise InputError(f"{name}: there are {len(given)} for {count} answers.")
        if min(self.ranks) < 1:
            raise InputError(f"ranks: {min(self.ranks)} is below 1, the best.")
        if self.margin is not None and not (math.isfinite(self.margin) and self.margin >= 0):
            raise InputError(f"margin: {self.margin} is no number from 0 on.")

    @property
    def nbytes(self) -> int:
        """About the bytes of its characters."""
        return 4 * sum(map(len, self.texts))

    @property
    def is_tied(self) -> bool:
        """Whether no answer is better than another."""
        return len(set(self.ranks)) == 1

    def in_words(self) -> str:
        """The best answer."""
        return self.texts[self.ranks.index(min(self.ranks))]

    def to_value(self) -> dict[str, Any]:
        """JSON, of which `from_value` makes it again, as `omlab label export` writes it."""
        ids = [f"a{place}" for place in range(1, len(self.texts) + 1)]
        value: dict[str, Any] = {
            "answers": [{"id": id, "text": text} for id, text in zip(ids, self.texts, strict=True)],
            "ranks": dict(zip(ids, self.ranks, strict=True)),
        }
        if self.margin is not None:
            value["margin"] = self.margin
        if self.scores:
            value["scores"] = {id: dict(given) for id, given in zip(ids, self.scores, strict=True)}
        if self.tags:
            value["tags"] = {id: list(given) for id, given in zip(ids, self.tags, strict=True)}
        return value

    @classmethod
    def from_value(cls, value: Any) -> Ranking:
        """The ranking of a row: `answers` with `ranks`, or a pair of `chosen` and `rejected`.

        Both may have a `margin`; `scores` and `tags` go by the ids of answers. A text of a pair may also be the list of
        the one message that it is. Raises `InputError` that names the field.
        """
        if not isinstance(value, Mapping):
            raise InputError("A ranking is an object with answers and ranks, or with chosen and rejected.")
        form: type[_RankedRow] | type[_PairRow] = _RankedRow if "answers" in value else _PairRow
        try:
            return form.model_validate(value).ranking()
        except ValidationError as error:
            first = error.errors()[0]
            raise InputError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.") from None


class _Row(BaseModel):
    model_config = ConfigDict(strict=True)

    margin: float | None = None


class _Answer(_Row):
    id: str
    text: str


class _RankedRow(_Row):
    answers: list[_Answer]
    ranks: dict[str, int]
    scores: dict[str, dict[str, float]] = {}
    tags: dict[str, list[str]] = {}

    def ranking(self) -> Ranking:
        ids = [answer.id for answer in self.answers]
        if len(set(ids)) < len(ids):
            raise InputError("answers: two of them have the same id.")
        for name, given in (("ranks", self.ranks), ("scores", self.scores), ("tags", self.tags)):
            stray = next((id for id in given if id not in ids), None)
            if stray is not None:
                raise InputError(f"{name}: there is no answer '{stray}'.")
        unranked = next((id for id in ids if id not in self.ranks), None)
        if unranked is not None:
            raise InputError(f"ranks: the answer '{unranked}' has none.")
        return Ranking(
            texts=tuple(answer.text for answer in self.answers),
            ranks=tuple(self.ranks[id] for id in ids),
            margin=self.margin,
            scores=tuple(self.scores.get(id, {}) for id in ids) if self.scores else (),
            tags=tuple(tuple(self.tags.get(id, ())) for id in ids) if self.tags else (),
        )


class _Said(_Row):
    role: str = "assistant"
    content: str


class _PairRow(_Row):
    chosen: str | list[_Said]
    rejected: str | list[_Said]

    def ranking(self) -> Ranking:
        texts = tuple(_said(getattr(self, name), name) for name in ("chosen", "rejected"))
        return Ranking(texts=texts, ranks=(1, 2), margin=self.margin)


def _said(given: str | list[_Said], name: str) -> str:
    if isinstance(given, str):
        return given
    if len(given) != 1 or given[0].role != "assistant":
        raise InputError(f"{name}: it must be a text, or the one message of the assistant.")
    return given[0].content

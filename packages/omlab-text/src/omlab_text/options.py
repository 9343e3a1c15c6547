"""The kinds `options`, answers to choose from, and `likelihoods`, how likely a model finds texts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, ClassVar

from omlab.errors import InputError

LETTERS = ascii_uppercase
"""By which options are called in questions."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Answers to choose from.

    Attributes:
        texts: At least two that differ.
        answer: The place of the right one; None: not known.

    Raises `InputError` for fewer than two options, one that is empty or twice, or an answer that is none of them.
    """

    kind: ClassVar[str] = "options"

    texts: tuple[str, ...]
    answer: int | None = None

    def __post_init__(self) -> None:
        if not 2 <= len(self.texts) <= len(LETTERS):
            raise InputError(f"options: there are {len(self.texts)}, but must be 2 to {len(LETTERS)}.")
        if any(not text.strip() for text in self.texts):
            raise InputError("options: one of them is empty.")
        if len(set(self.texts)) < len(self.texts):
            raise InputError("options: two of them are the same.")
        if self.answer is not None and not 0 <= self.answer < len(self.texts):
            raise InputError(f"answer: {self.answer} is none of the {len(self.texts)} options, which count from 0.")

    @property
    def nbytes(self) -> int:
        """About the bytes of its characters."""
        return 4 * sum(map(len, self.texts))

    def rotated(self, by: int) -> Options:
        """The same options, of which the one at the place `by` comes first."""
        count = len(self.texts)
        answer = None if self.answer is None else (self.answer - by) % count
        return Options(texts=tuple(self.texts[(place + by) % count] for place in range(count)), answer=answer)

    def to_value(self) -> dict[str, Any]:
        """JSON, of which `from_value` makes it again."""
        return {"options": list(self.texts)} | ({} if self.answer is None else {"answer": self.answer})

    @classmethod
    def from_value(cls, value: Any) -> Options:
        """The options of a list, or of a row with `options` and perhaps `answer`.

        Options are a list, or an object of them by letter. The answer is a letter, the text of an option, or its place
        (from 0). Raises `InputError` that names the field.
        """
        row = value if isinstance(value, Mapping) else {"options": value}
        texts = _texts(row.get("options"))
        options = cls(texts=texts)  # what is wrong with them is told first
        answer = row.get("answer")
        return options if answer is None else cls(texts=texts, answer=_place(answer, texts))


@dataclass(frozen=True, kw_only=True)
class Likelihoods:
    """How likely a model finds texts, each after the same beginning.

    Attributes:
        texts: What was scored.
        logprobs: The log-probability of each (nats), summed over its tokens; at most 0.
        tokens: How many tokens each has for the model; at least 1.

    Raises `InputError` where there is no text, or these do not belong together.
    """

    kind: ClassVar[str] = "likelihoods"

    texts: tuple[str, ...]
    logprobs: tuple[float, ...]
    tokens: tuple[int, ...]

    def __post_init__(self) -> None:
        counts = {len(self.texts), len(self.logprobs), len(self.tokens)}
        if len(counts) != 1 or not self.texts:
            raise InputError(
                f"{len(self.texts)} texts, {len(self.logprobs)} log-probabilities and {len(self.tokens)} numbers of "
                "tokens do not belong together."
            )
        if any(not math.isfinite(value) or value > 0 for value in self.logprobs):
            raise InputError("A log-probability is a finite number that is not above 0.")
        if any(count < 1 for count in self.tokens):
            raise InputError("A text has at least one token.")

    @property
    def bytes(self) -> tuple[int, ...]:
        """The bytes of each text in UTF-8, at least 1."""
        return tuple(max(1, len(text.encode("utf-8", "backslashreplace"))) for text in self.texts)

    def in_words(self) -> str:
        """The text that is the likeliest."""
        return self.texts[max(range(len(self.texts)), key=self.logprobs.__getitem__)]

    def to_value(self) -> dict[str, Any]:
        """JSON, of which `from_value` makes it again."""
        rows = zip(self.texts, self.logprobs, self.tokens, strict=True)
        return {"likelihoods": [{"text": text, "logprob": found, "tokens": count} for text, found, count in rows]}

    @classmethod
    def from_value(cls, value: Any) -> Likelihoods:
        """What `to_value` gave. Raises `InputError`."""
        rows = value.get("likelihoods") if isinstance(value, Mapping) else None
        try:
            parts = [(str(row["text"]), float(row["logprob"]), int(row["tokens"])) for row in rows or []]
        except (TypeError, ValueError, KeyError):
            parts = []
        if not parts:
            raise InputError("likelihoods: it must be a list of objects with text, logprob and tokens.")
        texts, logprobs, tokens = zip(*parts, strict=True)
        return cls(texts=texts, logprobs=logprobs, tokens=tokens)


def _texts(given: Any) -> tuple[str, ...]:
    if isinstance(given, Mapping):
        if list(given) != list(LETTERS[: len(given)]):
            raise InputError(f"options: their letters are {', '.join(map(str, given)) or 'none'}, not A, B, C and on.")
        given = list(given.values())
    if not isinstance(given, Sequence) or isinstance(given, str) or not all(isinstance(text, str) for text in given):
        raise InputError("options: they must be a list of texts, or an object of them by letter.")
    return tuple(given)


def _place(given: Any, texts: tuple[str, ...]) -> int:
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    if given in texts:
        return texts.index(given)
    letters = LETTERS[: len(texts)]
    if isinstance(given, str) and len(given.strip()) == 1 and given.strip().upper() in letters:
        return letters.index(given.strip().upper())
    raise InputError(f"answer: {given!r:.60} is no letter of {letters[0]} to {letters[-1]} and no text of an option.")

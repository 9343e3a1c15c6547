"""Which option a model chose: the likeliest one, or the one that its answer names."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

By = Literal["sum", "token", "byte"]
BYS: tuple[By, ...] = ("sum", "token", "byte")
"""A log-probability as it is, of a token in the mean, and of a byte in the mean."""

_STATED = (
    r"(?:answer|option|choice|choose|答案|选项|选择|应选|选)(?:\s+(?:is|option|would be|should be))*[\s:：为是*(（\[]*"  # noqa: RUF001
)
"""What announces an answer, up to its letter."""
_WORD = r"(?![AI] [a-z])"
"""What follows is not the article or pronoun of a sentence."""
_FREE = r"(?![A-Za-z0-9'’])"  # noqa: RUF001
"""A letter ends here: what follows makes no word of it."""
_BEGUN = r"(?=\s*(?:$|[\n.:;)\]*。：）]))"  # noqa: RUF001
"""What an answer that begins with its letter goes on with."""


def scores(logprobs: Sequence[float], tokens: Sequence[int], sizes: Sequence[int], *, by: By) -> list[float]:
    """The log-probabilities, as they are or of a token or a byte in the mean."""
    lengths = {"sum": [1] * len(logprobs), "token": tokens, "byte": sizes}[by]
    return [value / length for value, length in zip(logprobs, lengths, strict=True)]


def likeliest(values: Sequence[float]) -> int:
    """The place of the largest; of equal ones the first."""
    return max(range(len(values)), key=values.__getitem__)


def probabilities(values: Sequence[float]) -> list[float]:
    """The softmax: how probable each option is, if it is one of them."""
    largest = max(values)
    shares = [math.exp(value - largest) for value in values]
    total = sum(shares)
    return [share / total for share in shares]


def named(text: str, options: Sequence[str]) -> int | None:
    """The place of the option that an answer names; None: none, or more than one.

    Where options are letters, in this order: the last letter that is announced ('the answer is B', '答案: B'); the
    letter that the answer begins with ('B', '(B)', 'B. Pneumonia'); the only letter that stands alone in it. An 'A'
    or 'I' before a word in small letters is a word. Where options are texts: the only one that occurs in the answer,
    case and spaces aside; one that lies in another is passed over.
    """
    if all(len(option) == 1 and option.isascii() and option.isupper() for option in options):
        return _named_letter(text.strip(), options)
    said = _plain(text)
    found = [option for option in options if _plain(option) in said]
    whole = [
        option for option in found if not any(option != other and _plain(option) in _plain(other) for other in found)
    ]
    return options.index(whole[0]) if len(whole) == 1 else None


def _named_letter(text: str, letters: Sequence[str]) -> int | None:
    one = f"{_WORD}([{''.join(letters)}])"
    stated = re.findall(f"(?i:{_STATED}){one}{_FREE}", text)
    if stated:
        return letters.index(stated[-1])
    first = re.match(rf"[\s*(（\[]*{one}{_BEGUN}", text)  # noqa: RUF001
    if first is not None:
        return letters.index(first[1])
    alone = set(re.findall(rf"(?<![A-Za-z0-9]){one}{_FREE}", text))
    return letters.index(alone.pop()) if len(alone) == 1 else None


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())

"""From a judge's reply to an outcome.

`strict` is the rule of the recorded tournament: the first line only, commas become spaces, split at single spaces,
exactly two numbers. `lenient` also takes tabs, several spaces, "Assistant 1: 9 Assistant 2: 8", "7/10 8/10" and
brackets in the first line that is not blank, but only scores from 0 to 10. What neither can read is `unparsed`,
and so is any number that is not finite.
"""

from __future__ import annotations

import math
import re
from typing import Literal, get_args

Mode = Literal["strict", "lenient"]
MODES: tuple[Mode, ...] = get_args(Mode)

HIGHEST = 10.0

_LABEL = re.compile(r"(?:assistant|answer|model|助手|回答|模型)\s*[12]", re.IGNORECASE)
_OUT_OF = re.compile(r"(?<=\d)\s*/\s*10(?![\d.])")
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?![\w.]*\d)")


def scores_of(reply: str, *, mode: Mode = "strict") -> tuple[float, float] | None:
    """The two scores of a reply, first seat first; None where it does not hold two finite numbers."""
    found = _strict(reply) if mode == "strict" else _lenient(reply)
    return found if found is not None and all(map(math.isfinite, found)) else None


def outcome_of(reply: str, *, mode: Mode = "strict") -> str:
    """`model_a`, `model_b`, `tie` or `unparsed`."""
    scores = scores_of(reply, mode=mode)
    if scores is None:
        return "unparsed"
    first, second = scores
    return "tie" if first == second else "model_a" if first > second else "model_b"


def _strict(reply: str) -> tuple[float, float] | None:
    pieces = reply.split("\n", 1)[0].replace(",", " ").split(" ")
    try:
        first, second = (float(piece) for piece in pieces)
    except ValueError:
        return None
    return first, second


def _lenient(reply: str) -> tuple[float, float] | None:
    line = next((line for line in reply.splitlines() if line.strip()), "")
    numbers = [float(text) for text in _NUMBER.findall(_OUT_OF.sub("", _LABEL.sub(" ", line)))]
    if len(numbers) != 2 or not all(0 <= number <= HIGHEST for number in numbers):
        return None
    return numbers[0], numbers[1]

"""Parts of JSON values, checked: what payloads are made of when they are read.

Every function raises `UsageError` with a sentence that names the field, what it must be and what was found.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from omlab.errors import UsageError

_NOT_FINITE = ("nan", "inf", "-inf")


def fields(value: Any, *, known: Sequence[str], required: Sequence[str], what: str) -> Mapping[str, Any]:
    """`value` as the fields of `what`; `id` and `kind` may stand beside them."""
    if not isinstance(value, Mapping):
        raise UsageError(f"{what} must have {' and '.join(required)}, not be {brief(value)}.")
    lacking = [name for name in required if name not in value]
    if lacking:
        raise UsageError(f"{what} has no '{lacking[0]}'; it has {', '.join(map(str, value)) or 'nothing'}.")
    unknown = [name for name in value if name not in (*known, *required, "id", "kind")]
    if unknown:
        raise UsageError(f"{what} has an unknown '{unknown[0]}'; known are {', '.join([*required, *known])}.")
    return value


def text(value: Any, *, name: str) -> str:
    """A text."""
    if isinstance(value, str):
        return value
    raise UsageError(f"'{name}' must be a text, not {brief(value)}.")


def flag(value: Any, *, name: str) -> bool:
    """True or false."""
    if isinstance(value, bool):
        return value
    raise UsageError(f"'{name}' must be true or false, not {brief(value)}.")


def number(value: Any, *, name: str) -> float:
    """A number. One that is not finite is written as the text `nan`, `inf` or `-inf`: JSON has no such numbers."""
    if isinstance(value, str) and value in _NOT_FINITE:
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            pass
    raise UsageError(f"'{name}' must be a number, not {brief(value)}.")


def numbers(value: Any, *, name: str) -> list[float]:
    """A list of numbers."""
    return [number(part, name=name) for part in entries(value, name=name)]


def entries(value: Any, *, name: str) -> Sequence[Any]:
    """A list."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return value
    raise UsageError(f"'{name}' must be a list, not {brief(value)}.")


def table(value: Any, *, name: str) -> Mapping[str, Any]:
    """Values by name."""
    if isinstance(value, Mapping):
        return value
    raise UsageError(f"'{name}' must be values by name, not {brief(value)}.")


def plain(value: float) -> float | str:
    """A number as JSON can hold it."""
    return value if math.isfinite(value) else str(value)


def brief(value: Any) -> str:
    """A JSON value as a message shows it."""
    shown = json.dumps(value, ensure_ascii=False, default=str)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."

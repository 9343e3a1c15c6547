"""Golden files without a network: how far what a package computes is from what such a file expects.

A package's `tests/parity.py` answers them with `check(case) -> {part: difference}`, a part being a name at the top of
the file. These are the pieces of a `check`, and of the test that it would notice another expectation.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

Case = Mapping[str, Any]
Answer = Callable[[Any, Case], float]
"""Of what the file has under a part's name, and of the whole file: how far from it the package is."""

_FEW = 3
"""Entries of a list of numbers that are changed in turn: the first, the middle and the last one."""


def answer_parts(case: Case, answers: Mapping[str, Answer], *, about: Collection[str]) -> dict[str, float]:
    """The difference of each part of a file.

    Args:
        case: The file.
        answers: How a part is answered, by its name.
        about: Names that are inputs or words about the file, and no parts.

    Raises:
        KeyError: A part has no answer; its name.
    """
    for name in case:
        if name not in answers and name not in about:
            raise KeyError(name)
    return {name: answers[name](part, case) for name, part in case.items() if name in answers}


def difference(found: Any, expected: Any) -> float:
    """The largest difference from expected numbers, relative to their spread.

    The numbers of a list, however nested, share a spread: their standard deviation; a number of its own has its size
    (zeros: 1). A mapping is compared name by name, each on its own scale. A text, a truth value, nothing, a set, a
    length or a set of names that differs counts as 1; a number that is not finite is infinitely far.
    """
    if isinstance(expected, Mapping):
        if not isinstance(found, Mapping) or found.keys() != expected.keys():
            return 1.0
        return max((difference(found[name], value) for name, value in expected.items()), default=0.0)
    pairs = list(_pairs(found, expected))
    numbers = [(ours, theirs) for ours, theirs in pairs if _is_number(theirs)]
    scale = _scale([theirs for _, theirs in numbers])
    differences = [abs(ours - theirs) / scale if _is_number(ours) else 1.0 for ours, theirs in numbers]
    differences += [difference(ours, theirs) for ours, theirs in pairs if isinstance(theirs, Mapping)]
    differences += [
        float(ours != theirs) for ours, theirs in pairs if not (_is_number(theirs) or isinstance(theirs, Mapping))
    ]
    return max((math.inf if math.isnan(one) else float(one) for one in differences), default=0.0)


def among(found: Case, part: Case, *, about: Collection[str] = ()) -> float:
    """The `difference` of what a part of a file expects, by name.

    Args:
        found: What the package gives, by the part's names for it; it may be more than is expected.
        part: What is expected.
        about: Names that are inputs or words about the part, and no expectations.

    Raises:
        KeyError: Something is expected that was not found; its name.
    """
    expected = {name: value for name, value in part.items() if name not in about}
    return difference({name: found[name] for name in expected}, expected)


def changed(case: Case, *, expected: Collection[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The file with one expectation changed a little (by a twentieth, at least 0.001), for each in turn, and where.

    Args:
        case: The file.
        expected: The names whose numbers and texts are expectations, wherever in the file they stand.
    """
    for path in _places(case, names=frozenset(expected)):
        other = copy.deepcopy(dict(case))
        parent: Any = other
        for step in path[:-1]:
            parent = parent[step]
        parent[path[-1]] = _moved(parent[path[-1]])
        yield "/".join(map(str, path)), other


def check_notices(check: Callable[[dict[str, Any]], dict[str, float]], case: Case, *, expected: Collection[str]) -> int:
    """That `check` gives more for a file with any one expectation changed; how many there were.

    Raises `AssertionError` that says which change went unnoticed.
    """
    before = check(dict(case))
    count = 0
    for place, other in changed(case, expected=expected):
        after, part = check(other), place.partition("/")[0]
        assert after[part] > before[part], f"{place}: {before[part]:.2e} before and {after[part]:.2e} after the change"
        count += 1
    return count


def _pairs(found: Any, expected: Any) -> Iterator[tuple[Any, Any]]:
    """What is found beside what is expected, down to what is no list."""
    found, expected = _plain(found), _plain(expected)
    if not isinstance(expected, list):
        yield found, expected
    elif not isinstance(found, list) or len(found) != len(expected):
        yield None, json.dumps(expected, default=str)
    else:
        for ours, theirs in zip(found, expected, strict=True):
            yield from _pairs(ours, theirs)


def _plain(value: Any) -> Any:
    """Arrays and tuples as lists, numbers of numpy or torch as Python's."""
    if isinstance(value, tuple):
        return list(value)
    return value.tolist() if hasattr(value, "tolist") else value


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _scale(numbers: Sequence[float]) -> float:
    if not numbers:
        return 1.0
    spread = float(np.std(numbers)) if len(numbers) > 1 else 0.0
    return spread or max(abs(float(number)) for number in numbers) or 1.0


def _places(value: Any, *, names: frozenset[str], inside: bool = False) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, Mapping):
        for name, entry in value.items():
            for rest in _places(entry, names=names, inside=inside or name in names):
                yield (name, *rest)
    elif isinstance(value, list):
        numbers = inside and len(value) > _FEW and all(map(_is_number, value))
        chosen = sorted({0, len(value) // 2, len(value) - 1}) if numbers else range(len(value))
        for index in chosen:
            for rest in _places(value[index], names=names, inside=inside):
                yield (index, *rest)
    elif inside:
        yield ()


def _moved(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int):
        return value + 1
    return value + max(0.05 * abs(value), 0.001) if isinstance(value, float) else f"{value} (changed)"

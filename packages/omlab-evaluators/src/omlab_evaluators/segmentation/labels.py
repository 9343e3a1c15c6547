"""Which class of the reference is which class of the prediction."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError, OmlabWarning, SettingsError
from omlab_evaluators.names import key_of


@dataclass(frozen=True)
class Pair:
    """A class to compare: its `name` and its voxel value in either map (`prediction` None: it has no such class)."""

    name: str
    reference: int
    prediction: int | None


def match_labels(target: Any, prediction: Any, *, wanted: Sequence[str | int]) -> list[Pair]:
    """Pair the classes of two label maps, in the order of the target's.

    By name where both maps have names (case, spaces, hyphens and underscores do not count), else by voxel
    value. A target without names has the values that occur in its array. `wanted` (names or values; empty:
    all) chooses among the target's. Raises `SettingsError` for a wanted class that the target does not know,
    `InputError` where a name stands twice or no class is in both maps.
    """
    pairs = _pairs(_foreground(target), target=target, prediction=prediction)
    if wanted:
        pairs = [_wanted(pairs, choice, named=bool(_foreground(target))) for choice in wanted]
    if pairs and all(pair.prediction is None for pair in pairs):
        theirs = ", ".join(repr(label.name) for label in _foreground(prediction)[:6])
        raise InputError(
            f"No class of the reference ({', '.join(repr(pair.name) for pair in pairs[:6])}) is one of the "
            f"prediction's ({theirs}): evaluate a model that predicts these classes, or name them alike."
        )
    absent = [pair.name for pair in pairs if pair.prediction is None]
    if absent:
        warnings.warn(
            f"The prediction has no class {', '.join(map(repr, absent))}; it counts as not found there.",
            OmlabWarning,
            stacklevel=2,
        )
    return pairs


def _foreground(label_map: Any) -> list[Any]:
    return [label for label in label_map.labels if label.value != 0]


def _pairs(labels: list[Any], *, target: Any, prediction: Any) -> list[Pair]:
    if not labels:
        values = [value for value in _occurring(target.array) if value != 0]
        return [Pair(_name(prediction, value), value, value) for value in values]
    theirs = _foreground(prediction)
    if not theirs:
        return [Pair(label.name, int(label.value), int(label.value)) for label in labels]
    _by_key(labels, "reference")
    values_of = _by_key(theirs, "prediction")
    return [Pair(label.name, int(label.value), values_of.get(key_of(label.name))) for label in labels]


def _occurring(array: NDArray[Any]) -> list[int]:
    flat = array.ravel(order="K")  # as it lies in memory
    changes = flat[1:] != flat[:-1]  # neighbours are mostly alike: only where they are not a value can be new
    return [int(value) for value in np.unique(np.concatenate([flat[:1], flat[1:][changes]]))]


def _wanted(pairs: list[Pair], choice: str | int, *, named: bool) -> Pair:
    number = int(choice) if str(choice).lstrip("-").isdigit() else None
    for pair in pairs:
        if key_of(pair.name) == key_of(str(choice)) or pair.reference == number:
            return pair
    if number is not None and number > 0 and not named:  # a class that this case happens not to show
        return Pair(f"label {number}", number, number)
    known = ", ".join(pair.name for pair in pairs) or "none"
    raise SettingsError(f"The setting labels names {choice!r}, but the reference's classes are {known}.")


def _by_key(labels: Iterable[Any], whose: str) -> dict[str, int]:
    values: dict[str, int] = {}
    for label in labels:
        key = key_of(label.name)
        if key in values:
            raise InputError(f"Two classes of the {whose} are called {label.name!r}; give each a name of its own.")
        values[key] = int(label.value)
    return values


def _name(label_map: Any, value: int) -> str:
    return next((label.name for label in label_map.labels if label.value == value), f"label {value}")

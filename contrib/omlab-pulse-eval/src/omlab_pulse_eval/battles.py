"""Battles: who met whom, in which seats, and who won; read from CSV, kept as arrays."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError
from omlab_report import plain_cell

OUTCOMES = ("model_a", "model_b", "tie", "unparsed")
"""First seat wins, second seat wins, equal scores, a reply without two scores (rated as a tie)."""

COLUMNS = ("model_a", "model_b", "winner")


@dataclass(frozen=True, kw_only=True)
class Battles:
    """Battles in their order: `first` and `second` (N,) index `models`, `outcome` (N,) indexes `OUTCOMES`."""

    models: tuple[str, ...]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    outcome: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.outcome)

    @property
    def scores(self) -> NDArray[np.float64]:
        """What the first seat gets: 1, 0, or a half where nobody won. Shape (N,)."""
        return np.array([1.0, 0.0, 0.5, 0.5])[self.outcome]

    def counts(self) -> dict[str, int]:
        """How many battles had each outcome."""
        found = np.bincount(self.outcome, minlength=len(OUTCOMES))
        return {name: int(number) for name, number in zip(OUTCOMES, found, strict=True)}


def battles_of(rows: Iterable[tuple[str, str, str]], *, models: Sequence[str] | None = None) -> Battles:
    """Battles from (first, second, outcome); models in the order given, or in which they appear."""
    place = {name: n for n, name in enumerate(models or ())}
    first, second, outcome = [], [], []
    known = {name: n for n, name in enumerate(OUTCOMES)}
    for a, b, winner in rows:
        first.append(place.setdefault(a, len(place)))
        second.append(place.setdefault(b, len(place)))
        outcome.append(known[winner])
    return Battles(
        models=tuple(place),
        first=np.array(first, dtype=np.int64),
        second=np.array(second, dtype=np.int64),
        outcome=np.array(outcome, dtype=np.int8),
    )


def pooled(sets: Sequence[Battles]) -> Battles:
    """All battles of several sets, one set after the other."""
    models = tuple(dict.fromkeys(name for battles in sets for name in battles.models))
    place = {name: n for n, name in enumerate(models)}
    moved = [np.array([place[name] for name in battles.models], dtype=np.int64) for battles in sets]
    return Battles(
        models=models,
        first=np.concatenate([where[battles.first] for where, battles in zip(moved, sets, strict=True)]),
        second=np.concatenate([where[battles.second] for where, battles in zip(moved, sets, strict=True)]),
        outcome=np.concatenate([battles.outcome for battles in sets]),
    )


def read_battles(path: Path) -> Battles:
    """A battle log: CSV with the columns model_a, model_b and winner (one of `OUTCOMES`), in order.

    Names that `omlab_report.safe_cell` kept from being run as formulas are what they were.
    Raises `InputError` that names the file and line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return battles_of(_rows(path, stream))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text: a battle log is a CSV file.") from None


def _rows(path: Path, stream: Iterable[str]) -> Iterable[tuple[str, str, str]]:
    reader = csv.reader(stream)
    try:
        header = next(reader, [])
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            known = ", ".join(COLUMNS)
            raise InputError(f"{path}, line 1: the column '{missing[0]}' is missing; a battle log has {known}.")
        where = [header.index(name) for name in COLUMNS]
        found = False
        for row in reader:
            if len(row) != len(header):
                raise InputError(f"{path}, line {reader.line_num}: {len(row)} fields, but {len(header)} columns.")
            a, b, winner = (plain_cell(row[n]) for n in where)
            if not a.strip() or not b.strip() or a == b:
                raise InputError(f"{path}, line {reader.line_num}: '{a}' against '{b}' is no battle of two models.")
            if winner not in OUTCOMES:
                raise InputError(
                    f"{path}, line {reader.line_num}: the winner is '{winner}', but must be one of "
                    f"{', '.join(OUTCOMES)}."
                )
            found = True
            yield a, b, winner
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}.") from None
    if not found:
        raise InputError(f"{path} holds no battles.")

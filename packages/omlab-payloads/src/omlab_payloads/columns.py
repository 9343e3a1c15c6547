"""Classes and scores as rows of a table: which columns there are, and back.

    classes   predicted | threshold | p(NAME) ...          the threshold is empty where exactly one class is right
              prediction set | set level | set coverage    where there are prediction sets
    scores    NAME [UNIT] ...                              without the unit where there is none

`predicted` and `prediction set` are for the reader of a table: they are not read again. A cell is empty where a case
has no such class or score.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from omlab.errors import UsageError
from omlab_payloads.cells import Cell
from omlab_payloads.classes import Classes
from omlab_payloads.scores import Scores

ID, PREDICTED, THRESHOLD = "id", "predicted", "threshold"
SET, SET_LEVEL, SET_COVERAGE = "prediction set", "set level", "set coverage"
TEXTS = (ID, PREDICTED, SET)
SEPARATOR = "; "
_PROBABILITY = re.compile(r"p\((.*)\)", re.DOTALL)
_SCORE = re.compile(r"(.*) \[([^\]]*)\]", re.DOTALL)


def row_of(payload: Any) -> dict[str, Cell]:
    """The cells of one case by column. Raises `UsageError` for a payload that makes no row."""
    if isinstance(payload, Classes):
        cells: dict[str, Cell] = {PREDICTED: SEPARATOR.join(payload.predicted), THRESHOLD: payload.threshold}
        if payload.prediction_set is not None:
            cells[SET] = SEPARATOR.join(payload.prediction_set)
            cells |= {SET_LEVEL: payload.set_level, SET_COVERAGE: payload.set_coverage}
        return cells | {f"p({name})": p for name, p in zip(payload.names, payload.probabilities, strict=True)}
    if isinstance(payload, Scores):
        return {_heading(name, payload.units.get(name, "")): value for name, value in payload.values.items()}
    raise UsageError(f"A table has a row a case for classes and scores, not for a {payload.kind}.")


def numeric(columns: Iterable[str], *, kind: str) -> frozenset[str]:
    """The columns whose cells are numbers that `payload_of` looks at."""
    if kind == Classes.kind:
        others = (THRESHOLD, SET_LEVEL, SET_COVERAGE)
        return frozenset(name for name in columns if name in others or _PROBABILITY.fullmatch(name))
    return frozenset(columns) - {*TEXTS}


def payload_of(row: Mapping[str, float | None], *, kind: str) -> Classes | Scores:
    """The payload of a row: the cells of its `numeric` columns.

    Raises `UsageError` where it is none of that kind.
    """
    if kind == Classes.kind:
        found = {match[1]: row[column] for column in row if (match := _PROBABILITY.fullmatch(column))}
        known = {name: p for name, p in found.items() if p is not None}
        if not known:
            raise UsageError("It has no probability of a class: those stand in columns called p(NAME).")
        return Classes(
            names=tuple(known),
            probabilities=tuple(known.values()),
            threshold=row.get(THRESHOLD),
            set_level=row.get(SET_LEVEL),
            set_coverage=row.get(SET_COVERAGE),
        )
    if any(_PROBABILITY.fullmatch(column) for column in row):
        raise UsageError(f"It holds classes, but {kind} is needed.")
    numbers = {_named(column): value for column, value in row.items() if value is not None}
    return Scores(
        values={name: value for (name, _), value in numbers.items()},
        units={name: unit for name, unit in numbers if unit},
    )


def _heading(name: str, unit: str) -> str:
    looks_otherwise = name.endswith("]") or name in TEXTS or _PROBABILITY.fullmatch(name)
    return f"{name} [{unit}]" if unit or looks_otherwise else name


def _named(column: str) -> tuple[str, str]:
    match = _SCORE.fullmatch(column)
    return (match[1], match[2]) if match else (column, "")

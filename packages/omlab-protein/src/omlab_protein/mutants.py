"""Tables of mutants: CSV with a column `mutant`, and `score` (or ProteinGym's `DMS_score`) where it was measured."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from omlab.errors import InputError, UsageError
from omlab.payloads import Inputs, Payload
from omlab_payloads.lines import read_lines
from omlab_protein.variants import Variants, VariantScores

MUTANT, SCORE, PREDICTED = "mutant", "score", "predict_score"
MEASURED = (SCORE, "DMS_score")


class MutantTable:
    """The format `mutants`."""

    def read(self, path: Path, *, kind: str) -> Variants | VariantScores:
        """The variants of a table, or its scores (`predict_score`). Raises `InputError` that names the file.

        A column of scores that is empty, as of a plate that is not measured yet, counts as not there.
        """
        rows = _rows(path)
        mutants = [row[MUTANT].strip() for row in rows]
        name = next((name for name in MEASURED if any(row.get(name, "").strip() for row in rows)), None)
        measured = None if name is None else _numbers(rows, name, path=path)
        try:
            if kind == Variants.kind:
                return Variants(mutants=mutants, measured=measured)
            if PREDICTED not in rows[0]:
                raise UsageError(f"it has no column '{PREDICTED}'.")
            scores = _numbers(rows, PREDICTED, path=path)
            return VariantScores(mutants=mutants, scores=scores, measured=measured)  # type: ignore[arg-type]  # made an array
        except (InputError, UsageError) as error:
            raise InputError(f"{path} cannot be used: {error}") from None

    def write(self, payload: Payload, path: Path, *, inputs: Inputs) -> None:
        """A row a mutant, in the order of the variants."""
        assert isinstance(payload, Variants | VariantScores)
        columns: dict[str, Sequence[object]] = {MUTANT: payload.mutants}
        if payload.measured is not None:
            columns[SCORE] = [repr(value) for value in payload.measured]
        if isinstance(payload, VariantScores):
            columns[PREDICTED] = [repr(value) for value in payload.scores.tolist()]
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))


def read_measured(path: Path) -> list[tuple[str, float]]:
    """The mutants of a table that were measured, and what was; a row without a score was not (an empty well).

    Raises `InputError` that names the file: there is no such column, no score at all, or something else in its place.
    """
    rows = _rows(path)
    name = next((name for name in MEASURED if name in rows[0]), None)
    if name is None:
        raise InputError(f"{path} has no column '{SCORE}': write there what was measured of each mutant.")
    rows = [row for row in rows if row[name].strip()]
    if not rows:
        raise InputError(f"{path} has no score in the column '{name}' yet.")
    return list(zip([row[MUTANT].strip() for row in rows], _numbers(rows, name, path=path), strict=True))


def _rows(path: Path) -> list[dict[str, str]]:
    table = csv.reader((line.text for line in read_lines(path)), strict=True)
    try:
        heading = [cell.strip() for cell in next(table, [])]
        if MUTANT not in heading:
            raise InputError(
                f"{path} has no column '{MUTANT}'; its first line has {', '.join(heading[:5]) or 'nothing'}."
            )
        rows = []
        for cells in filter(None, table):
            if len(cells) != len(heading):
                raise InputError(
                    f"{path}, line {table.line_num} has {len(cells)} cells, but there are {len(heading)} columns."
                )
            rows.append(dict(zip(heading, cells, strict=True)))
    except csv.Error:
        raise InputError(f"{path} is no table of comma-separated values (line {table.line_num}).") from None
    if not rows:
        raise InputError(f"{path} has no mutant.")
    return rows


def _numbers(rows: list[dict[str, str]], name: str, *, path: Path) -> list[float]:
    found = []
    for row in rows:
        try:
            value = float(row[name])
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(f"{path}: '{row[name][:40]}' is no number, in the column '{name}' of {row[MUTANT][:40]}.")
        found.append(value)
    return found

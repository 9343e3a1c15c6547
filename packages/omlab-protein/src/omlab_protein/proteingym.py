"""ProteinGym's summary: one figure a model, from its figures in each assay.

Assays of one protein and one type of function are averaged first, then proteins within a type, then types, so that
neither a protein with many assays nor a type with many proteins counts more (ProteinGym: Large-Scale Benchmarks
for Protein Fitness Prediction and Design, NeurIPS 2023).
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from omlab.errors import InputError
from omlab_payloads.lines import read_lines

ASSAY, PROTEIN, FUNCTION = "DMS_id", "UniProt_ID", "coarse_selection_type"
_ASSAY_NAMES = ("DMS ID", ASSAY, "DMS_ID", "")
_NO_MODEL = frozenset(
    {"number_of_mutants", "number_mutants", "selection_type", "uniprot_id", "msa_neff_l_category", "taxon"}
)
"""Columns of published tables that are about the assay, by their names in small letters with `_` for spaces."""
_MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "none", "<na>"})
"""What pandas, which ProteinGym averages with, reads as no value; in small letters."""


class Assay(NamedTuple):
    """What an assay is of."""

    protein: str
    function: str


def summary(per_assay: Path | str, reference: Path | str) -> dict[str, float]:
    """The mean of each model over the types of function, as ProteinGym publishes it (there to 3 decimals).

    Args:
        per_assay: A table with a row an assay (`DMS ID` or `DMS_id`) and a column a model. Columns that the reference
            file has too, what published tables say of assays, and columns of texts are no models. An empty cell
            counts as not there.
        reference: ProteinGym's reference file: `DMS_id`, `UniProt_ID` and `coarse_selection_type` of every assay.

    Raises:
        InputError: A file cannot be read, lacks a column, or an assay is not in the reference.
    """
    described = read_table(Path(reference))
    assays = _assays(described, path=reference)
    rows = read_table(Path(per_assay))
    name = next((name for name in _ASSAY_NAMES if name in rows[0]), None)
    if name is None:
        raise InputError(f"{per_assay} has no column 'DMS ID'; its first line has {', '.join(list(rows[0])[:5])}.")
    unknown = [row[name] for row in rows if row[name] not in assays]
    if unknown:
        raise InputError(f"{per_assay} has the assay '{unknown[0]}', which is not in {reference}.")
    about = {*_ASSAY_NAMES, *described[0]}
    models = [column for column in rows[0] if column not in about and _is_model(column, [row[column] for row in rows])]
    return {
        model: aggregate({row[name]: _number(row[model], row[name], path=per_assay) for row in rows}, assays)
        for model in models
    }


def aggregate(
    values: Mapping[str, float], assays: Mapping[str, Assay], *, counts: Mapping[str, float] | None = None
) -> float:
    """The mean over types of function of the means over proteins of the means over assays; NaN counts as not there.

    `counts`: how often each protein counts (a bootstrap's draw); None: each once.
    """
    by_type = by_function(values, assays, counts=counts)
    return fmean(by_type.values()) if by_type else math.nan


def by_function(
    values: Mapping[str, float], assays: Mapping[str, Assay], *, counts: Mapping[str, float] | None = None
) -> dict[str, float]:
    """The mean over proteins, of the means over their assays, of each type of function that occurs."""
    of_protein: defaultdict[Assay, list[float]] = defaultdict(list)
    for name, value in values.items():
        if not math.isnan(value) and (counts is None or counts[assays[name].protein]):
            of_protein[assays[name]].append(value)
    of_function: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for (protein, function), found in of_protein.items():
        of_function[function].append((fmean(found), 1.0 if counts is None else counts[protein]))
    return {
        function: fmean([mean for mean, _ in found], weights=[count for _, count in found])
        for function, found in sorted(of_function.items())
    }


def _assays(rows: list[dict[str, str]], *, path: Path | str) -> dict[str, Assay]:
    for column in (ASSAY, PROTEIN, FUNCTION):
        if column not in rows[0]:
            raise InputError(f"{path} has no column '{column}': it is no reference file of ProteinGym.")
    return {row[ASSAY]: Assay(row[PROTEIN], row[FUNCTION]) for row in rows}


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows by column; a cell may go over lines. Raises `InputError`."""
    try:  # not strictly: titles of papers in the reference file may have quotes of their own
        rows = list(csv.reader(line.text for line in read_lines(path)))
    except csv.Error:
        raise InputError(f"{path} is no table of comma-separated values.") from None
    rows = [row for row in rows if row]
    if len(rows) < 2:
        raise InputError(f"{path} has no rows.")
    wrong = next((number for number, row in enumerate(rows, start=1) if len(row) != len(rows[0])), None)
    if wrong is not None:
        raise InputError(f"{path}, row {wrong} has {len(rows[wrong - 1])} cells, but there are {len(rows[0])} columns.")
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def _is_model(column: str, cells: list[str]) -> bool:
    if column.lower().replace(" ", "_") in _NO_MODEL:
        return False
    given = [cell for cell in cells if cell.strip().lower() not in _MISSING]
    return not given or any(map(_is_number, given))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(cell: str, assay: str, *, path: Path | str) -> float:
    if cell.strip().lower() in _MISSING:
        return math.nan
    if not _is_number(cell):
        raise InputError(f"{path} has '{cell[:40]}' in the row of {assay}, which must be a number.")
    return float(cell)

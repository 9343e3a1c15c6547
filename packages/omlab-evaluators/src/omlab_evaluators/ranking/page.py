"""What the ranking evaluator writes: the report page and the table of all assays."""

from __future__ import annotations

import math
from pathlib import Path

from omlab_evaluators.page_parts import counted, few, resampling, write_report_page
from omlab_evaluators.ranking.summary import MEASURES, Summary
from omlab_report import (
    Column,
    Interval,
    KeyFigure,
    KeyFigures,
    Notes,
    Section,
    Table,
    csv_text,
    read_run,
    write_text,
)

Cell = str | int | float | Interval | None


def write_report(summary: Summary, *, rounds: int, seed: int, folder: Path) -> list[str]:
    """Write `report.html` and `cases.csv` into `folder`; gives the notes that say how things were counted."""
    run = read_run(folder)
    proteins = {assay.protein for assay in summary.assays.values()}
    notes = [
        "Assays of one protein and type of function are averaged first, then proteins, then types, as ProteinGym does.",
        resampling(rounds=rounds, seed=seed),
        "Proteins are drawn, each with all of its assays.",
        *few(len(summary.assays)),
    ]
    figures = [
        KeyFigure(m.title, summary.whole[m.key].value, summary.whole[m.key].low, summary.whole[m.key].high, digits=3)
        for m in MEASURES
    ]
    sections = [
        Section("", [KeyFigures(figures)]),
        Section("By type of function", [_by_function(summary)]),
        Section("By assay", [_by_assay(summary)]),
        Section("Notes", [Notes(notes)]),
    ]
    header = ["case", "protein", "function", "variants", *(measure.key for measure in MEASURES)]
    write_text(csv_text(header, _rows(summary)), folder / "cases.csv")
    counts = f"{counted(len(summary.assays), 'assay')}, {counted(len(proteins), 'protein')}"
    write_report_page("Ranking report", sections, run=run, counts=counts, folder=folder)
    return notes


def _columns() -> list[Column]:
    return [Column(m.title, numeric=True, digits=m.digits, help=m.help) for m in MEASURES]


def _by_function(summary: Summary) -> Table:
    names = sorted({assay.function for assay in summary.assays.values()})
    rows: list[list[Cell]] = [[name, *(summary.functions[m.key].get(name) for m in MEASURES)] for name in names]
    return Table([Column("Type of function"), *_columns()], rows)


def _by_assay(summary: Summary) -> Table:
    columns = [Column("Assay"), Column("Protein"), Column("Type of function"), Column("Variants", numeric=True)]
    return Table([*columns, *_columns()], _rows(summary))


def _rows(summary: Summary) -> list[list[Cell]]:
    return [
        [
            name,
            assay.protein,
            assay.function,
            summary.variants[name],
            *(None if math.isnan(summary.values[m.key][name]) else summary.values[m.key][name] for m in MEASURES),
        ]
        for name, assay in summary.assays.items()
    ]

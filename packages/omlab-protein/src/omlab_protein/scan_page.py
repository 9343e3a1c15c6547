"""The page of scored variants: a heat map of the single ones, the best, and what positions say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from omlab.errors import UsageError
from omlab.payloads import Inputs, Payload
from omlab_protein import sequence
from omlab_protein.heatmap import matrix
from omlab_protein.plots import scan_picture
from omlab_protein.positions import by_position
from omlab_protein.ranks import spearman
from omlab_protein.variants import VariantScores
from omlab_report import (
    Column,
    Gallery,
    GalleryItem,
    KeyFigure,
    KeyFigures,
    Notes,
    Page,
    Picture,
    Section,
    Table,
    run_notices,
    run_of_case,
    run_sections,
    write_page,
)

MOST_MUTANTS = 200
MOST_POSITIONS = 2000
"""Rows of the page's tables; the file of scores has all."""

NOTES = (
    "A score ranks; it has no unit. 0 is the wild type where a language model scored; a model that was fitted to "
    "measurements gives numbers in their unit.",
    "A language model tells what looks natural. It knows neither the assay nor the structure.",
)


class ScanPage:
    """The format `variants-page`."""

    def write(self, payload: Payload, path: Path, *, inputs: Inputs) -> None:
        """The page of one protein; within a run it says which model scored. Raises `OutputError`."""
        assert isinstance(payload, VariantScores)
        run = run_of_case(path.parent)
        protein = next((one for one in inputs.values() if isinstance(one, sequence.Sequence)), None)
        name = protein.name if protein is not None and protein.name else "protein"
        page = Page(
            f"Variants of {name}",
            [
                *_first(payload),
                *_map(payload),
                _best(payload),
                *_positions(payload),
                Section("How to read it", [Notes(NOTES)]),
                *run_sections(run),
            ],
            subtitle=f"{len(payload.mutants):,} variants"
            + (f" of {len(protein.letters):,} residues" if protein is not None else ""),
            notices=run_notices(run),
        )
        write_page(page, path)


def _first(found: VariantScores) -> list[Section]:
    best = int(found.scores.argmax())
    figures = [
        KeyFigure("Best variant", found.mutants[best], note=f"score {found.scores[best]:.3f}"),
        KeyFigure("Above 0", f"{int((found.scores > 0).sum()):,} of {len(found.scores):,}"),
    ]
    if found.measured is not None:
        figures.append(KeyFigure("Spearman with what was measured", spearman(found.measured, found.scores)))
    return [Section("", [KeyFigures(figures)])]


def _map(found: VariantScores) -> list[Section]:
    rows = by_position(found.mutants, found.scores)
    try:
        table = matrix(found.mutants, found.scores)
    except UsageError:  # there are variants of several sites alone
        return []
    where = f"positions {rows[0].number} to {rows[-1].number}"
    picture = Picture(
        scan_picture(table, first=rows[0].number),
        alt=f"Scores of single variants at {where}",
        caption=f"To the right {where}, down the new residue. Blue is above 0, red below; grey was not scored.",
    )
    return [Section("Single variants", [Gallery([GalleryItem("", [picture])])])]


def _best(found: VariantScores) -> Section:
    order = np.argsort(-found.scores, kind="stable")[:MOST_MUTANTS].tolist()
    columns = [Column("Rank", numeric=True), Column("Variant"), Column("Score", numeric=True)]
    rows: list[list[str | int | float | None]] = [
        [rank, found.mutants[n], float(found.scores[n])] for rank, n in enumerate(order, start=1)
    ]
    if found.measured is not None:
        columns.append(Column("Measured", numeric=True))
        for row, n in zip(rows, order, strict=True):
            row.append(found.measured[n])
    left = len(found.mutants) - len(rows)
    text = f"The {len(rows)} best; {left:,} more are in the table of scores." if left else ""
    return Section("Ranked", [Table(columns, rows)], text=text)


def _positions(found: VariantScores) -> Sequence[Section]:
    rows = by_position(found.mutants, found.scores)
    if not rows:
        return []
    columns = [
        Column("Position", numeric=True),
        Column("Residue"),
        Column("Variants", numeric=True),
        Column("Mean", numeric=True, help="Low: the position does not bear changes."),
        Column("Best"),
        Column("Its score", numeric=True),
    ]
    cells: list[list[str | int | float | None]] = [
        [row.number, row.residue, row.count, row.mean, row.best, row.highest] for row in rows[:MOST_POSITIONS]
    ]
    return [Section("By position", [Table(columns, cells)])]

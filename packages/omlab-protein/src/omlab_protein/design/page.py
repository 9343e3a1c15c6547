"""The page of a plate: what is expected of its mutants and how sure that is, and where they change the protein."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from omlab_protein.design.plate import Plate
from omlab_protein.design.rounds import EXPECTED, UNKNOWN
from omlab_protein.plots import plate_plot
from omlab_protein.substitutions import written
from omlab_report import (
    Column,
    Figure,
    KeyFigure,
    KeyFigures,
    Notes,
    Page,
    Section,
    Table,
    run_notices,
    run_of_case,
    run_sections,
    write_page,
)

MOST_ROWS = 1000


def write_plate_page(plate: Plate, path: Path) -> None:
    """Write it; within a run it says which model was asked, and how. Raises `OutputError`."""
    run = run_of_case(path.parent)
    why = Counter(one.why for one in plate.proposals)
    best = max(plate.measured.items(), key=lambda each: each[1], default=None)
    figures = [
        KeyFigure("Mutants", len(plate.proposals)),
        KeyFigure("Measured before", len(plate.measured)),
        KeyFigure(
            "Best measured", None if best is None else written(best[0]), note="" if best is None else f"{best[1]:.3f}"
        ),
        KeyFigure("Taken to explore", why[UNKNOWN]),
    ]
    page = Page(
        f"A plate for {plate.protein.name or 'a protein'}",
        [
            Section("", [KeyFigures(figures)]),
            Section("What is expected", [_figure(plate)]),
            _table(plate),
            _sites(plate),
            Section("How to read it", [Notes(_notes(plate))]),
            *run_sections(run),
        ],
        subtitle=f"Proposed with {plate.model}",
        notices=run_notices(run),
    )
    write_page(page, path)


def _figure(plate: Plate) -> Figure:
    return Figure(
        plate_plot(
            [one.mean for one in plate.proposals],
            [one.spread for one in plate.proposals],
            [one.why for one in plate.proposals],
        ),
        alt="The spread of the heads against the mean of what they say, for each mutant of the plate",
        caption="Every dot is a mutant of the plate: the further right, the better it is by the heads; the higher, "
        "the less they agree, and the more its measurement teaches.",
    )


def _table(plate: Plate) -> Section:
    columns = [
        Column("Pick", numeric=True),
        Column("Mutant"),
        Column("Expected", numeric=True),
        Column("Spread", numeric=True),
        Column("Model's score", numeric=True),
        Column("Why"),
    ]
    rows: list[list[str | int | float | None]] = [
        [number, written(one.mutant), one.mean, one.spread, one.score, one.why]
        for number, one in enumerate(plate.proposals[:MOST_ROWS], start=1)
    ]
    return Section("The plate", [Table(columns, rows)])


def _sites(plate: Plate) -> Section:
    counts = Counter(one for proposal in plate.proposals for one in proposal.mutant)
    positions = Counter(one.position for proposal in plate.proposals for one in proposal.mutant)
    rows: list[list[str | int | float | None]] = []
    for position, count in sorted(positions.items()):
        own = sorted((one for one in counts if one.position == position), key=lambda one: (-counts[one], one.new))
        rows.append([position, own[0].old, count, ", ".join(f"{one.new} ({counts[one]})" for one in own)])
    columns = [
        Column("Position", numeric=True),
        Column("Residue"),
        Column("Mutants", numeric=True),
        Column("New residues"),
    ]
    return Section("Where it changes", [Table(columns, rows)])


def _notes(plate: Plate) -> list[str]:
    unit = (
        "Expected and spread are in the unit of what was measured."
        if plate.measured
        else "Nothing was measured yet: expected is the model's score, in its deviations over the single mutants."
    )
    return [
        f"{unit} They are the mean and the standard deviation of an ensemble of ridge heads on substitutions, pairs of "
        "them and the model's score.",
        f"“{EXPECTED}”: the mean picked it. “{UNKNOWN}”: a head, which fits what was measured as the others do, "
        "picked it by itself; measuring it tells what heads disagree on.",
        "Write what you measure into the column 'score' and give the table to the next round: measured=plate.csv.",
    ]

"""What the evaluator `axons` writes: the report page and the table of all cases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omlab_axonseg.evaluator_summary import MEASURES, Means, Settings, window_name
from omlab_evaluators.bootstrap import CaseRows, Row
from omlab_evaluators.overlays import picture_path
from omlab_evaluators.page_parts import counted, few, read_history, resampling, training_sections, write_report_page
from omlab_report import (
    Block,
    Column,
    Figure,
    Gallery,
    GalleryItem,
    Interval,
    KeyFigure,
    KeyFigures,
    Notes,
    Picture,
    Section,
    Table,
    case_strip,
    csv_text,
    read_run,
    write_text,
)

GALLERY_CASES = 8
"""Cases shown with pictures, the worst first."""
CSV_COLUMNS = ("group", "pooling", "status", *(measure.key for measure in MEASURES))
KEY_FIGURES = 4
"""Measures at the top of the page."""


def write_report(rows: CaseRows, means: Means, *, settings: Settings, folder: Path) -> list[str]:
    """Write `report.html` and `cases.csv` into `folder`; gives the notes that say how things were counted."""
    history, run = read_history(folder), read_run(folder)
    notes = _notes(rows, settings)
    sections = [
        Section("", [_key_figures(means)]),
        _pooling_section(rows, means, settings.pooling),
        _cases_section(rows),
        *_gallery_section(rows, folder),
        *training_sections(history),
        Section("Notes", [Notes(notes)]),
    ]
    table = ([case, *(row[key] for key in CSV_COLUMNS)] for case, mine in rows.items() for row in mine)
    write_text(csv_text(("case", *CSV_COLUMNS), table), folder / "cases.csv")
    write_report_page("Axon report", sections, run=run, counts=counted(len(rows), "case"), folder=folder)
    return notes


def _key_figures(means: Means) -> KeyFigures:
    return KeyFigures(
        [
            KeyFigure(f"Mean {measure.title}", mean.value, mean.low, mean.high, digits=measure.digits)
            for measure in MEASURES[:KEY_FIGURES]
            for mean in means[measure.key][:1]
        ]
    )


def _pooling_section(rows: CaseRows, means: Means, pooling: Sequence[int]) -> Section:
    columns = [Column("Masks"), Column("Cases", numeric=True, help="with an axon in the reference")]
    columns += [Column(m.title, numeric=True, digits=m.digits, help=m.help) for m in MEASURES]
    table: list[list[str | int | float | Interval | None]] = []
    for n, window in enumerate(pooling):
        mine = [means[measure.key][n] for measure in MEASURES]
        table.append([window_name(window), mine[0].n, *(Interval(one.value, one.low, one.high) for one in mine)])
    blocks: list[Block] = [Table(columns, table)]
    spread = {m.title: [case[0][m.key] for case in rows.values()] for m in MEASURES[:KEY_FIGURES]}
    if any(one is not None for values in spread.values() for one in values):
        figure = Figure(
            case_strip(spread, name="Figure"),
            alt="Four figures of every case; they are in cases.csv.",
            caption=f"Every dot is a case (masks {window_name(pooling[0])}); the bar is the median.",
        )
        blocks.append(figure)
    text = (
        "Means over cases with 95 % bootstrap intervals. Pooled masks forgive a shift: both are the maximum over cubes "
        "of so many voxels before they are compared."
    )
    return Section("By pooling", blocks, text=text)


def _cases_section(rows: CaseRows) -> Section:
    shown = MEASURES[:KEY_FIGURES]
    columns = [Column("Case"), Column("Status"), *(Column(m.title, numeric=True, digits=m.digits) for m in shown)]
    table = [[case, rows[case][0]["status"], *(rows[case][0][m.key] for m in shown)] for case in _worst_first(rows)]
    return Section("By case", [Table(columns, table)], text="The lowest clDice first. All figures are in cases.csv.")


def _gallery_section(rows: CaseRows, folder: Path) -> list[Section]:
    items = []
    for case in _worst_first(rows)[:GALLERY_CASES]:
        path = picture_path(folder, case=case)
        if path.is_file():
            alt = f"Case {case}: the axons found, the reference outlined."
            items.append(GalleryItem(case, [Picture(path.read_bytes(), alt=alt)], text=_words(rows[case][0])))
    if not items:
        return []
    which = "All cases" if len(items) == len(rows) else f"The {len(items)} worst of {len(rows)} cases"
    return [Section("Pictures", [Gallery(items)], text=f"{which}, the lowest clDice first; the reference is outlined.")]


def _words(row: Row) -> str:
    return str(row["status"]) if row["cldice"] is None else f"clDice {row['cldice']:.3f}."


def _notes(rows: CaseRows, settings: Settings) -> list[str]:
    firsts = [case[0] for case in rows.values() if case]
    count = {status: sum(row["status"] == status for row in firsts) for status in ("not found", "no axon")}
    return [
        "Centre lines are soft skeletons of five rounds (Shit et al., 2021).",
        f"A reference none of whose axons was found has overlaps and recall 0 and no precision ({count['not found']}).",
        "A case without an axon in the reference counts in the false share alone, the share of its voxels that were "
        f"taken for axons ({count['no axon']}).",
        resampling(rounds=settings.bootstrap, seed=settings.seed),
        *few(len(rows)),
    ]


def _worst_first(rows: CaseRows) -> list[str]:
    """Case ids by clDice; those without any come last."""
    known = {case: mine[0]["cldice"] for case, mine in rows.items()}
    return sorted(rows, key=lambda case: (known[case] is None, known[case] or 0.0))

"""What the segmentation evaluator writes of pictures and clips, whose label maps have no millimetres."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from omlab_evaluators.bootstrap import CaseRows
from omlab_evaluators.page_parts import (
    SPREAD,
    counted,
    few,
    forgotten,
    read_history,
    resampling,
    training_sections,
    write_report_page,
)
from omlab_evaluators.segmentation.case_parts import all_rows, gallery, mean_of, worst_first
from omlab_evaluators.segmentation.summary import Settings, Summary
from omlab_evaluators.segmentation.sureness import KEYS, sureness_sections
from omlab_report import (
    Block,
    Column,
    Figure,
    Interval,
    KeyFigure,
    KeyFigures,
    Notes,
    Section,
    Table,
    case_strip,
    csv_text,
    read_run,
    write_text,
)

CASES = 200
"""Rows of the table of cases; all are in cases.csv."""

LEGEND = (
    "The prediction is filled, each class named in the picture and below it; white lines are the reference. Of a clip "
    "the frame is shown in which most was found."
)

_COLUMNS = ("group", "label", "value", "status", "dice", "frame_dice", "frames", *KEYS)
_STATES = ("found", "not found", "invented", "absent")


def write_report(rows: CaseRows, summary: Summary, *, settings: Settings, folder: Path) -> list[str]:
    """Write `report.html` and `cases.csv` into `folder`; gives the notes that say how things were counted."""
    history, run = read_history(folder), read_run(folder)
    notes = [*_notes(rows, summary, settings), *forgotten(history)]
    sections = [
        Section("", [_key_figures(rows, summary)]),
        _classes_section(rows, summary),
        _cases_section(rows, summary),
        *sureness_sections(rows),
        *gallery(rows, folder, what="Case", legend=LEGEND),
        *training_sections(history),
        Section("Notes", [Notes(notes)]),
    ]
    table = ([case, *(row.get(key) for key in _COLUMNS)] for case, mine in rows.items() for row in mine)
    write_text(csv_text(["case", *_COLUMNS], table), folder / "cases.csv")
    counts = f"{counted(len(rows), 'case')}, {counted(len(summary.labels), 'class')}"
    write_report_page("Segmentation report", sections, run=run, counts=counts, folder=folder)
    return notes


def _key_figures(rows: CaseRows, summary: Summary) -> KeyFigures:
    shown = []
    for measure in summary.measures:
        mean = summary.overall[measure.key]
        shown.append(KeyFigure(f"Mean {measure.title}", mean.value, mean.low, mean.high, digits=measure.digits))
    count = Counter(row["status"] for row in all_rows(rows))
    present = count["found"] + count["not found"]
    return KeyFigures([*shown, KeyFigure("Not found", count["not found"], note=f"of {present} structures")])


def _classes_section(rows: CaseRows, summary: Summary) -> Section:
    columns = [Column("Class"), Column("Cases", numeric=True, help="with a defined Dice")]
    columns += [Column(m.title, numeric=True, digits=m.digits, help=m.help) for m in summary.measures]
    columns += [Column(state.capitalize(), numeric=True) for state in _STATES]
    table: list[list[str | int | float | Interval | None]] = []
    for n, label in enumerate(summary.labels):
        means = [summary.by_label[measure.key][n] for measure in summary.measures]
        count = Counter(row["status"] for row in all_rows(rows) if row["label"] == label)
        cells = [Interval(mean.value, mean.low, mean.high) for mean in means]
        table.append([label, means[0].n, *cells, *(count[state] for state in _STATES)])
    blocks: list[Block] = [Table(columns, table)]
    spread: dict[str, list[float | None]] = {label: [] for label in summary.labels}
    for row in all_rows(rows):
        spread[row["label"]].append(row["dice"])
    if summary.labels:
        alt = "Dice of every case by class; the figures are in cases.csv."
        caption = f"{SPREAD} Further right is better: 1 is the reference itself."
        blocks.append(Figure(case_strip(spread, name="Dice"), alt=alt, caption=caption))
    return Section("By class", blocks, text="Means over cases with 95 % bootstrap intervals.")


def _cases_section(rows: CaseRows, summary: Summary) -> Section:
    columns = [Column("Case"), *(Column(m.title, numeric=True, digits=m.digits) for m in summary.measures)]
    order = worst_first(rows)
    table = [[case, *(mean_of(rows[case], m.key) for m in summary.measures)] for case in order[:CASES]]
    which = "" if len(order) <= CASES else f" The first {CASES} of {len(order)}."
    text = f"Means over the classes of the case, the worst case first.{which} All figures are in cases.csv."
    return Section("By case", [Table(columns, table)], text=text)


def _notes(rows: CaseRows, summary: Summary, settings: Settings) -> list[str]:
    count = Counter(row["status"] for row in all_rows(rows))
    notes = [
        "A class that is in the reference but not in the prediction, or the reverse, has Dice 0 "
        f"({count['not found']} not found, {count['invented']} invented); one that is in neither has none and is left "
        "out of all means.",
        resampling(rounds=settings.bootstrap, seed=settings.seed),
        "The mean over classes weighs every class alike.",
    ]
    if "frame_dice" in summary.by_label:
        notes.insert(
            0,
            "Dice is of all pixels of a clip together, as one mask over time; Dice by frame is the mean of the frames "
            "that have the class in the reference or the prediction.",
        )
    return [*notes, *few(len(rows))]

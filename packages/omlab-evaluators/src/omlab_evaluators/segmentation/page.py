"""What the segmentation evaluator writes: the report page and the table of all cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from omlab_evaluators.bootstrap import CaseRows, Estimate
from omlab_evaluators.measures import Measure
from omlab_evaluators.page_parts import (
    DOTS,
    SPREAD,
    counted,
    few,
    forgotten,
    read_history,
    resampling,
    training_sections,
    write_report_page,
)
from omlab_evaluators.segmentation.case_parts import all_rows, gallery, mean_of, weakest_of, worst_first
from omlab_evaluators.segmentation.summary import MEASURES, Settings, Summary, metrics_of
from omlab_evaluators.segmentation.sureness import CONFIDENCE, KEYS, least_sure, shown_key, sureness_sections
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
    dot_intervals,
    read_run,
    write_text,
)

LEGEND = (
    "The prediction is filled, each organ in its colour and with its name; white lines are the reference, and a white "
    "name is an organ that only the reference has in that plane. R and L are the patient's right and left, A and P "
    "front and back, S and I head and feet; a plane's number counts from the feet, the back or the left."
)

CSV_COLUMNS = (
    "case", "group", "label", "value", "status", "dice", "surface_dice", "hd95", "reference_ml", "prediction_ml",
    *KEYS,
)  # fmt: skip


def write_report(rows: CaseRows, summary: Summary, *, settings: Settings, folder: Path) -> list[str]:
    """Write `report.html` and `cases.csv` into `folder`; gives the notes that say how things were counted."""
    history, run = read_history(folder), read_run(folder)
    notes = [*_notes(rows, settings), *forgotten(history)]
    sections = [
        Section("", [_key_figures(rows, summary, settings)]),
        _classes_section(rows, summary, settings),
        _cases_section(rows),
        *sureness_sections(rows),
        *gallery(rows, folder, what="Three planes of case", legend=LEGEND),
        *training_sections(history),
        Section("Notes", [Notes(notes)]),
    ]
    counts = f"{counted(len(rows), 'case')}, {counted(len(summary.labels), 'class')}"
    write_text(_csv(rows), folder / "cases.csv")
    write_report_page("Segmentation report", sections, run=run, counts=counts, folder=folder)
    return notes


def _key_figures(rows: CaseRows, summary: Summary, settings: Settings) -> KeyFigures:
    shown = []
    for measure in MEASURES:
        mean = summary.overall[measure.key]
        note = f"at {settings.surface_tolerance_mm:g} mm" if measure.key == "surface_dice" else ""
        shown.append(
            KeyFigure(
                f"Mean {_lower(measure.title)}",
                mean.value,
                mean.low,
                mean.high,
                unit=measure.unit,
                digits=measure.digits,
                note=note,
            )
        )
    missed = sum(row["status"] == "not found" for row in all_rows(rows))
    present = sum(row["status"] in ("found", "not found") for row in all_rows(rows))
    return KeyFigures([*shown, KeyFigure("Not found", missed, note=f"of {present} structures")])


def _classes_section(rows: CaseRows, summary: Summary, settings: Settings) -> Section:
    metrics = metrics_of(summary)
    titled = [m.titled(metric) for metric in metrics for m in MEASURES if m.key == metric.name]
    text = (
        "Means over cases with 95 % bootstrap intervals. Surface Dice is the fraction of the surface within "
        f"{settings.surface_tolerance_mm:g} mm of the other; HD95 is the distance within which 95 % of it lies."
    )
    spread: dict[str, list[float | None]] = {label: [] for label in summary.labels}
    for row in all_rows(rows):
        spread[row["label"]].append(row["dice"])
    blocks: list[Block] = [_quality_table(summary)]
    if summary.labels:
        blocks += [
            Figure(
                dot_intervals(titled),
                alt="Mean of each measure by class with its 95 % interval; the figures are in the table above.",
                caption=f"{DOTS} Dice and surface Dice are best at 1, HD95 at 0 mm.",
            ),
            Figure(
                case_strip(spread, name="Dice"),
                alt="Dice of every case by class; the figures are in cases.csv.",
                caption=f"{SPREAD} Further right is better: 1 is the reference itself.",
            ),
            _count_table(rows, summary),
        ]
    return Section("By class", blocks, text=text)


def _quality_table(summary: Summary) -> Table:
    columns = [Column("Class"), Column("Cases", numeric=True, help="cases with a defined Dice")]
    for measure in MEASURES:
        columns.append(Column(_with_unit(measure), numeric=True, digits=measure.digits))
    columns.append(Column("HD95 undefined", numeric=True, help="cases where the class is in one of the two maps only"))
    table = [
        _quality_row(label, [summary.by_label[m.key][n] for m in MEASURES]) for n, label in enumerate(summary.labels)
    ]
    undefined = sum(
        dice.n - hd95.n for dice, hd95 in zip(summary.by_label["dice"], summary.by_label["hd95"], strict=True)
    )
    mean = _quality_row("Mean over classes", [summary.overall[m.key] for m in MEASURES])
    return Table(columns, [*table, [*mean[:-1], undefined]], strong_last=True)


def _quality_row(name: str, means: Sequence[Estimate]) -> list[str | int | float | Interval | None]:
    cells = [Interval(mean.value, mean.low, mean.high) for mean in means]
    return [name, means[0].n, *cells, means[0].n - means[2].n]


def _count_table(rows: CaseRows, summary: Summary) -> Table:
    columns = [
        Column("Class"),
        Column("Found", numeric=True, help="in the reference and in the prediction"),
        Column("Not found", numeric=True, help="in the reference only: Dice 0"),
        Column("Invented", numeric=True, help="in the prediction only: Dice 0"),
        Column("Absent", numeric=True, help="in neither: not counted"),
        Column("Reference (ml)", numeric=True, digits=1, help="mean volume over all cases"),
        Column("Prediction (ml)", numeric=True, digits=1, help="mean volume over all cases"),
    ]
    table = []
    for label in summary.labels:
        mine = [row for row in all_rows(rows) if row["label"] == label]
        counts = Counter(row["status"] for row in mine)
        volumes = [sum(row[key] for row in mine) / len(mine) for key in ("reference_ml", "prediction_ml")]
        table.append([label, *(counts[s] for s in ("found", "not found", "invented", "absent")), *volumes])
    return Table(columns, table, caption="In how many cases the class was found, and its mean volume")


def _cases_section(rows: CaseRows) -> Section:
    columns = [
        Column("Case"),
        Column("Mean Dice", numeric=True),
        Column("Mean surface Dice", numeric=True),
        Column("Largest HD95 (mm)", numeric=True, digits=2),
        Column("Weakest class"),
    ]
    key = shown_key(rows)
    if key is not None:
        columns.append(Column(f"Lowest {'confidence' if key == CONFIDENCE else 'margin'}", numeric=True))
    table = []
    for case in worst_first(rows):
        weakest = weakest_of(rows[case])
        distances = [row["hd95"] for row in rows[case] if row["hd95"] is not None]
        table.append(
            [
                case,
                mean_of(rows[case], "dice"),
                mean_of(rows[case], "surface_dice"),
                max(distances, default=None),
                f"{weakest['label']}, {weakest['dice']:.3f}" if weakest else "",
                *([] if key is None else [least_sure(rows[case], key)]),
            ]
        )
    text = "Means over the classes of the case, the worst case first. All figures are in cases.csv."
    return Section("By case", [Table(columns, table)], text=text)


def _notes(rows: CaseRows, settings: Settings) -> list[str]:
    count = Counter(row["status"] for row in all_rows(rows))
    notes = [
        "A class that is in the reference but not in the prediction, or the reverse, has Dice 0 and surface "
        f"Dice 0; its HD95 is undefined and left out of the mean "
        f"({count['not found']} not found, {count['invented']} invented).",
        "A class that is in neither has no figure and is left out of all means "
        f"({counted(count['absent'], 'case')} of a class).",
        f"Surface Dice (Nikolov et al. 2018) weights surface elements by their area; tolerance "
        f"{settings.surface_tolerance_mm:g} mm.",
        "HD95 is the distance within which 95 % of the surface area of both masks lies from the other mask's surface: "
        "both directions pooled, surface elements weighted by area.",
        resampling(rounds=settings.bootstrap, seed=settings.seed),
        "The mean over classes weighs every class alike.",
    ]
    notes += few(len(rows))
    empty = [case for case, mine in rows.items() if not mine]
    if empty:
        notes.append(f"The reference shows no class in: {', '.join(empty)}; these cases count in no mean.")
    return notes


def _csv(rows: CaseRows) -> str:
    return csv_text(
        CSV_COLUMNS,
        ([case, *(row.get(key) for key in CSV_COLUMNS[1:])] for case, mine in rows.items() for row in mine),
    )


def _with_unit(measure: Measure) -> str:
    return f"{measure.title} ({measure.unit})" if measure.unit else measure.title


def _lower(title: str) -> str:
    return title if title in ("Dice", "HD95") else title[0].lower() + title[1:]

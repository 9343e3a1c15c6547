"""What the localisation evaluator writes: the report page and the table of all cases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from omlab_evaluators.bootstrap import CaseRows, Row
from omlab_evaluators.localisation.summary import MEASURES, Summary, metrics_of
from omlab_evaluators.overlays import picture_path
from omlab_evaluators.page_parts import (
    DOTS,
    SPREAD,
    counted,
    few,
    read_history,
    resampling,
    training_sections,
    write_report_page,
)
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
    described,
    dot_intervals,
    read_run,
    write_text,
)

GALLERY_CASES = 8
"""Cases shown with pictures, the worst first."""

CSV_COLUMNS = ("case", "group", "label", "status", "iou", "wall_distance")


def write_report(rows: CaseRows, summary: Summary, *, rounds: int, seed: int, folder: Path) -> list[str]:
    """Write `report.html` and `cases.csv` into `folder`; gives the notes that say how things were counted."""
    history, run = read_history(folder), read_run(folder)
    notes = _notes(rows, rounds=rounds, seed=seed)
    sections = [
        Section("", [_key_figures(rows, summary)]),
        _structures_section(rows, summary),
        _cases_section(rows),
        *_gallery_section(rows, folder),
        *training_sections(history),
        Section("Notes", [Notes(notes)]),
    ]
    table = ([case, *(row[key] for key in CSV_COLUMNS[1:])] for case, mine in rows.items() for row in mine)
    write_text(csv_text(CSV_COLUMNS, table), folder / "cases.csv")
    counts = f"{counted(len(rows), 'case')}, {counted(len(summary.labels), 'structure')}"
    write_report_page("Localisation report", sections, run=run, counts=counts, folder=folder)
    return notes


def _key_figures(rows: CaseRows, summary: Summary) -> KeyFigures:
    shown = []
    for measure in MEASURES:
        mean = summary.overall[measure.key]
        title = "Mean box IoU" if measure.key == "iou" else "Mean wall distance"
        shown.append(KeyFigure(title, mean.value, mean.low, mean.high, unit=measure.unit, digits=measure.digits))
    missed = sum(row["status"] == "not found" for row in _all(rows))
    present = sum(row["status"] != "invented" for row in _all(rows))
    return KeyFigures([*shown, KeyFigure("Not found", missed, note=f"of {present} structures")])


def _structures_section(rows: CaseRows, summary: Summary) -> Section:
    columns = [Column("Structure"), Column("Cases", numeric=True, help="in which the reference shows it")]
    columns += [Column(f"{m.title} ({m.unit})" if m.unit else m.title, numeric=True, digits=m.digits) for m in MEASURES]
    columns.append(Column("Not found", numeric=True))
    table: list[list[str | int | float | Interval | None]] = []
    for n, label in enumerate(summary.labels):
        means = [summary.by_label[m.key][n] for m in MEASURES]
        missed = sum(row["label"] == label and row["status"] == "not found" for row in _all(rows))
        table.append([label, means[0].n, *(Interval(mean.value, mean.low, mean.high) for mean in means), missed])
    blocks: list[Block] = [Table(columns, table)]
    distances: dict[str, list[float | None]] = {label: [] for label in summary.labels}
    for row in _all(rows):
        distances[str(row["label"])].append(row["wall_distance"])
    if summary.labels:
        titled = [m.titled(metric) for metric in metrics_of(summary) for m in MEASURES if m.key == metric.name]
        blocks += [
            Figure(
                dot_intervals(titled),
                alt="Mean of each measure by structure with its 95 % interval; the figures are in the table above.",
                caption=f"{DOTS} Box IoU is best at 1, wall distance at 0 mm.",
            ),
            Figure(
                case_strip(distances, name="Wall distance (mm)"),
                alt="Wall distance of every case by structure; the figures are in cases.csv.",
                caption=f"{SPREAD} Further left is better.",
            ),
        ]
    text = (
        "Means over cases with 95 % bootstrap intervals. Wall distance is the mean distance of the six walls of a box "
        "from those of the box around the reference."
    )
    return Section("By structure", blocks, text=text)


def _cases_section(rows: CaseRows) -> Section:
    columns = [
        Column("Case"),
        Column("Mean box IoU", numeric=True),
        Column("Mean wall distance (mm)", numeric=True, digits=1),
        Column("Worst structure"),
    ]
    table = []
    for case in _worst_first(rows):
        found = [row for row in rows[case] if row["wall_distance"] is not None]
        worst = max(found, key=lambda row: float(row["wall_distance"]), default=None)
        words = f"{worst['label']}, {worst['wall_distance']:.1f} mm" if worst else ""
        table.append([case, _mean(rows[case], "iou"), _mean(rows[case], "wall_distance"), words])
    text = "Means over the structures of the case, the farthest walls first. All figures are in cases.csv."
    return Section("By case", [Table(columns, table)], text=text)


def _gallery_section(rows: CaseRows, folder: Path) -> list[Section]:
    items = []
    for case in _worst_first(rows)[:GALLERY_CASES]:
        path = picture_path(folder, case=case)
        if path.is_file():
            alt = f"Three planes of case {case}: the boxes dashed, the reference outlined."
            mean = _mean(rows[case], "wall_distance")
            text = "" if mean is None else f"Mean wall distance {mean:.1f} mm."
            png = path.read_bytes()
            items.append(GalleryItem(case, [Picture(png, alt=alt, caption=described(png))], text=text))
    if not items:
        return []
    which = "All cases" if len(items) == len(rows) else f"The {len(items)} worst of {len(rows)} cases"
    text = f"{which}, the worst first. Boxes are dashed, a colour for each structure; the reference is outlined."
    return [Section("Pictures", [Gallery(items)], text=text)]


def _notes(rows: CaseRows, *, rounds: int, seed: int) -> list[str]:
    count = {status: sum(row["status"] == status for row in _all(rows)) for status in ("not found", "invented")}
    return [
        "A box reaches from the outer face of its first voxel to that of its last one; of a structure with several "
        "boxes the box around all of them counts.",
        "A structure that is in the reference alone has IoU 0 and no wall distance "
        f"({count['not found']} not found); one in the result alone has neither ({count['invented']} invented).",
        resampling(rounds=rounds, seed=seed),
        "The mean over structures weighs every structure alike.",
        *few(len(rows)),
    ]


def _worst_first(rows: CaseRows) -> list[str]:
    """Case ids by mean wall distance; those without any come last."""
    means = {case: _mean(mine, "wall_distance") for case, mine in rows.items()}
    return sorted(rows, key=lambda case: (means[case] is None, -(means[case] or 0.0)))


def _mean(case: Sequence[Row], key: str) -> float | None:
    values = [float(row[key]) for row in case if row[key] is not None]
    return sum(values) / len(values) if values else None


def _all(rows: CaseRows) -> Iterable[Row]:
    return (row for case in rows.values() for row in case)

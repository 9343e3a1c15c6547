"""What the segmentation evaluator writes: the report page and the table of all cases."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from omlab.errors import OmlabWarning
from omlab.roles import Metric
from omlab_evaluators.bootstrap import Mean
from omlab_evaluators.overlay import LEGEND, PLANES
from omlab_evaluators.segmentation import MEASURES, CaseRows, Measure, Row, Settings, Summary, metrics_of, overlay_path
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
    Page,
    Picture,
    Section,
    Table,
    case_strip,
    csv_text,
    dot_intervals,
    failed_cases,
    loss_curve,
    provenance,
    warned_cases,
    write_page,
    write_text,
)

GALLERY_CASES = 8
"""Cases shown with pictures, the worst first: each adds about half a megabyte to the page."""

FEW_CASES = 10

CSV_COLUMNS = (
    "case", "group", "label", "value", "status", "dice", "surface_dice", "hd95", "reference_ml", "prediction_ml",
)  # fmt: skip


def write_report(rows: CaseRows, summary: Summary, *, settings: Settings, folder: Path) -> list[str]:
    """Write `report.html` and `cases.csv` into `folder`; gives the notes that say how things were counted."""
    notes = _notes(rows, settings)
    history, run = _read_json(folder / "history.json"), _read_json(folder / "run.json")
    sections = [
        Section("", [_key_figures(rows, summary, settings)]),
        _classes_section(rows, summary, settings),
        _cases_section(rows),
        *_gallery_section(rows, folder),
    ]
    if isinstance(history, list) and any("loss" in name for row in history for name in row):
        figure = Figure(loss_curve(history), alt=f"Training loss over {len(history)} rows of the history.")
        sections.append(Section("Training", [figure]))
    sections.append(Section("Notes", [Notes(notes)]))
    counts = f"{_count(len(rows), 'case')}, {_count(len(summary.labels), 'class')}"
    if isinstance(run, dict):
        failed = failed_cases(run)
        if failed is not None:
            counts += "; some cases failed, see below"
        sections += [section for section in (failed, warned_cases(run)) if section is not None]
        sections.append(provenance(run))
    subtitle = ": ".join(part for part in (_model_and_data(run), counts) if part)
    write_text(_csv(rows), folder / "cases.csv")
    write_page(Page("Segmentation report", sections, subtitle=subtitle), folder / "report.html")
    return notes


def _model_and_data(run: Any) -> str:
    """What was judged on what, as far as the run log says it."""
    request = run.get("request") if isinstance(run, dict) else None
    if not isinstance(request, dict):
        return ""
    model = request.get("model") or (request.get("predictions") or {}).get("model") or {}
    data = request.get("data") or {}
    split = f" ({data['split']})" if data.get("split") else ""
    return " on ".join(part for part in (model.get("name", ""), f"{data.get('name', '')}{split}") if part)


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
    missed = sum(row["status"] == "not found" for row in _all(rows))
    present = sum(row["status"] in ("found", "not found") for row in _all(rows))
    return KeyFigures([*shown, KeyFigure("Not found", missed, note=f"of {present} structures")])


def _classes_section(rows: CaseRows, summary: Summary, settings: Settings) -> Section:
    metrics = metrics_of(summary)
    titled = [_titled(metric) for metric in metrics]
    text = (
        "Means over cases with 95 % bootstrap intervals. Surface Dice is the fraction of the surface within "
        f"{settings.surface_tolerance_mm:g} mm of the other; HD95 is the distance within which 95 % of it lies."
    )
    spread: dict[str, list[float | None]] = {label: [] for label in summary.labels}
    for row in _all(rows):
        spread[row["label"]].append(row["dice"])
    blocks: list[Block] = [_quality_table(summary)]
    if summary.labels:
        blocks += [
            Figure(
                dot_intervals(titled),
                alt="Mean of each measure by class with its 95 % interval; the figures are in the table above.",
                caption="Dots are means over cases, lines their 95 % intervals.",
            ),
            Figure(
                case_strip(spread, name="Dice"),
                alt="Dice of every case by class; the figures are in cases.csv.",
                caption="Every dot is a case; boxes reach from quartile to quartile, the bar is the median.",
            ),
            _count_table(rows, summary),
        ]
    return Section("By class", blocks, text=text)


def _titled(metric: Metric) -> Metric:
    measure = next(m for m in MEASURES if m.key == metric.name)
    return Metric(
        name=measure.title, label=metric.label, value=metric.value, low=metric.low, high=metric.high, n=metric.n,
        unit=metric.unit, higher_is_better=metric.higher_is_better,
    )  # fmt: skip


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


def _quality_row(name: str, means: Sequence[Mean]) -> list[str | int | float | Interval | None]:
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
        mine = [row for row in _all(rows) if row["label"] == label]
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
    table = []
    for case in _worst_first(rows):
        weakest = _weakest(rows[case])
        distances = [row["hd95"] for row in rows[case] if row["hd95"] is not None]
        table.append(
            [
                case,
                _mean(rows[case], "dice"),
                _mean(rows[case], "surface_dice"),
                max(distances, default=None),
                f"{weakest['label']}, {weakest['dice']:.3f}" if weakest else "",
            ]
        )
    text = "Means over the classes of the case, the worst case first. All figures are in cases.csv."
    return Section("By case", [Table(columns, table)], text=text)


def _gallery_section(rows: CaseRows, folder: Path) -> list[Section]:
    items = []
    for case in _worst_first(rows)[:GALLERY_CASES]:
        pictures = []
        for plane in PLANES:
            path = overlay_path(folder, case=case, plane=plane)
            if path.is_file():
                alt = f"{plane} slice of case {case} with the outlines of reference and prediction"
                pictures.append(Picture(path.read_bytes(), alt=alt, caption=plane.capitalize()))
        if pictures:
            items.append(GalleryItem(case, pictures, text=_case_text(rows[case])))
    if not items:
        return []
    which = "All cases" if len(items) == len(rows) else f"The {len(items)} worst of {len(rows)} cases"
    text = (
        f"{which}, the worst first, in slices through the middle of the reference. "
        "R marks the patient's right, A the front."
    )
    return [Section("Overlays", [Gallery(items, legend=LEGEND)], text=text)]


def _case_text(case: Sequence[Row]) -> str:
    mean, weakest = _mean(case, "dice"), _weakest(case)
    parts = [] if mean is None or weakest is None else [
        f"Mean Dice {mean:.3f}", f"weakest {weakest['label']} {weakest['dice']:.3f}"
    ]  # fmt: skip
    for status in ("not found", "invented"):
        names = [row["label"] for row in case if row["status"] == status]
        if names:
            parts.append(f"{status}: {', '.join(names)}")
    return "; ".join(parts) + "." if parts else "No class of this case is defined."


def _notes(rows: CaseRows, settings: Settings) -> list[str]:
    count = Counter(row["status"] for row in _all(rows))
    notes = [
        "A class that is in the reference but not in the prediction, or the reverse, has Dice 0 and surface "
        f"Dice 0; its HD95 is undefined and left out of the mean "
        f"({count['not found']} not found, {count['invented']} invented).",
        "A class that is in neither has no figure and is left out of all means "
        f"({_count(count['absent'], 'case')} of a class).",
        f"Surface Dice (Nikolov et al. 2018) weights surface elements by their area; tolerance "
        f"{settings.surface_tolerance_mm:g} mm.",
        "HD95 is the distance within which 95 % of the surface area of both masks lies from the other mask's surface: "
        "both directions pooled, surface elements weighted by area.",
        f"Intervals: 95 % percentile bootstrap over cases (cases of one patient together), {settings.bootstrap} "
        f"rounds, seed {settings.seed}. "
        "They say how means vary with the choice of cases, not how a retrained model varies.",
        "The mean over classes weighs every class alike.",
    ]
    if 0 < len(rows) < FEW_CASES:
        notes.append(f"With {_count(len(rows), 'case')} the intervals are rough, and rather too narrow.")
    empty = [case for case, mine in rows.items() if not mine]
    if empty:
        notes.append(f"The reference shows no class in: {', '.join(empty)}; these cases count in no mean.")
    return notes


def _csv(rows: CaseRows) -> str:
    return csv_text(
        CSV_COLUMNS,
        ([case, *(row.get(key) for key in CSV_COLUMNS[1:])] for case, mine in rows.items() for row in mine),
    )


def _read_json(path: Path) -> Any:
    """The content of `path`; None where it is not there, or (with a warning) cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        warnings.warn(f"{path} cannot be read and is left out of the report: {error}.", OmlabWarning, stacklevel=2)
        return None


def _worst_first(rows: CaseRows) -> list[str]:
    """Case ids by mean Dice; those without any figure last."""
    means = {case: _mean(mine, "dice") for case, mine in rows.items()}
    return sorted(rows, key=lambda case: (means[case] is None, means[case] or 0.0))


def _weakest(case: Sequence[Row]) -> Row | None:
    defined = [row for row in case if row["dice"] is not None]
    return min(defined, key=lambda row: float(row["dice"]), default=None)


def _mean(case: Sequence[Row], key: str) -> float | None:
    values = [float(row[key]) for row in case if row[key] is not None]
    return sum(values) / len(values) if values else None


def _all(rows: CaseRows) -> Iterable[Row]:
    return (row for case in rows.values() for row in case)


def _with_unit(measure: Measure) -> str:
    return f"{measure.title} ({measure.unit})" if measure.unit else measure.title


def _lower(title: str) -> str:
    return title if title in ("Dice", "HD95") else title[0].lower() + title[1:]


def _count(number: int, thing: str) -> str:
    plural = f"{thing}es" if thing.endswith("s") else f"{thing}s"
    return f"{number} {thing if number == 1 else plural}"

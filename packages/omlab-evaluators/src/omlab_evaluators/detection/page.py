"""What the detection evaluator writes: the report page, the table of all cases, and the curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from omlab.roles import Metric
from omlab_evaluators.bootstrap import CaseRows
from omlab_evaluators.detection.curves import best_point, curve_rows, curves_of, plot
from omlab_evaluators.detection.summary import POINT, PRECISIONS, PRESENCE, Judged, judged
from omlab_evaluators.measures import Measure
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
    csv_text,
    read_run,
    write_text,
)

GALLERY_CASES = 12
"""Cases shown with pictures, the worst first."""

CASES = 200
"""Rows of the table of cases; all are in cases.csv."""

CURVE_ROWS = 100_000
"""Rows of curves.csv, about: of longer curves every so many boxes."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """The operating point, and how intervals were drawn."""

    score: float
    rounds: int
    seed: int


Figures = dict[tuple[str, str | None], Metric]


def write_report(rows: CaseRows, metrics: Sequence[Metric], *, point: Point, folder: Path) -> list[str]:
    """Write `report.html`, `cases.csv` and `curves.csv`; gives the notes that say how things were counted."""
    whole = judged(rows, score=point.score)
    figures: Figures = {(metric.name, metric.label): metric for metric in metrics}
    history, run = read_history(folder), read_run(folder)
    notes = _notes(whole, rows, point=point)
    cases = _cases(whole, rows)
    sections = [
        Section("", [_key_figures(figures, point=point)]),
        _classes_section(whole, figures, point=point),
        *_curve_section(whole, point=point, folder=folder),
        _cases_section(cases),
        *_gallery_section(cases, folder, point=point),
        *training_sections(history),
        Section("Notes", [Notes(notes)]),
    ]
    write_text(csv_text(_CASE_COLUMNS, cases), folder / "cases.csv")
    frames = sum(row["frames"] for (row,) in rows.values())
    counts = f"{counted(len(rows), 'case')}, {counted(frames, 'frame')}, {counted(len(whole.classes), 'class')}"
    write_report_page("Detection report", sections, run=run, counts=counts, folder=folder)
    return notes


def _key_figures(figures: Figures, *, point: Point) -> KeyFigures:
    notes = {
        "ap": "COCO, IoU 0.5 to 0.95",
        "f1": f"IoU 0.5, score from {point.score:g} on",
        PRESENCE.key: "no overlap is checked",
    }
    shown: list[Measure] = [*PRECISIONS[:3], POINT[0], PRESENCE]
    return KeyFigures([_key_figure(measure, figures, note=notes.get(measure.key, "")) for measure in shown])


def _key_figure(measure: Measure, figures: Figures, *, note: str) -> KeyFigure:
    found = figures[measure.key, None]
    return KeyFigure(measure.title, found.value, found.low, found.high, digits=measure.digits, note=note)


def _classes_section(whole: Judged, figures: Figures, *, point: Point) -> Section:
    references = [one.positives[:, 0].sum() for one in whole.classes]
    blocks: list[Block] = [
        _table(whole, figures, PRECISIONS[:3], references, caption="Average precision"),
        _table(
            whole, figures, PRECISIONS[3:], references, caption="Average precision of small, medium and large boxes"
        ),
        _table(whole, figures, POINT, references, caption=f"At the operating point: score from {point.score:g} on"),
    ]
    text = (
        "With 95 % bootstrap intervals. Of average precision the last row is the mean over classes, at the operating "
        "point it is of all boxes together."
    )
    return Section("By class", blocks, text=text)


def _table(
    whole: Judged, figures: Figures, measures: Sequence[Measure], references: Sequence[float], *, caption: str
) -> Table:
    columns = [Column("Class"), Column("References", numeric=True)]
    columns += [Column(m.title, numeric=True, digits=m.digits, help=m.help) for m in measures]
    rows: list[list[str | int | float | Interval | None]] = []
    for label, number in zip(whole.shown, [*references, sum(references)], strict=True):
        cells = [figures[measure.key, label] for measure in measures]
        rows.append([label or "All", int(number), *(Interval(one.value, one.low, one.high) for one in cells)])
    return Table(columns, rows, caption=caption, strong_last=True)


def _curve_section(whole: Judged, *, point: Point, folder: Path) -> list[Section]:
    curves = [curve for curve in curves_of(whole.classes) if len(curve.scores)]
    every = max(1, sum(len(curve.scores) for curve in curves) // CURVE_ROWS)
    rows = (row for number, row in enumerate(curve_rows(curves)) if number % every == 0)
    write_text(csv_text(["class", "iou", "score", "recall", "precision"], rows), folder / "curves.csv")
    if not curves:
        return []
    best = best_point(whole.classes)
    text = f"A dot is the operating point, a score of {point.score:g}."
    if best is not None:
        text += (
            f" The highest F1 over all boxes, {best[1]:.3f}, would be at a score of {best[0]:.3f}; chosen on these "
            "very cases it is too good for others."
        )
    alt = "Precision over recall by class; the numbers are in curves.csv."
    caption = (
        "From left to right boxes with ever lower scores are taken in: more references are found (recall), and more "
        "boxes are wrong (precision falls). The longer a curve stays at the top, the better. Solid: a box counts from "
        "an overlap (IoU) of 0.5 on; dashed: from 0.75 on."
    )
    figure = Figure(plot(curves, score=point.score), alt=alt, caption=caption)
    return [Section("Precision and recall", [figure], text=text)]


Case = tuple[str, str | None, int, int, int, int, int, float | None]
_CASE_COLUMNS = ("case", "group", "frames", "references", "found", "missed", "false_alarms", "f1")


def _cases(whole: Judged, rows: CaseRows) -> list[Case]:
    """What `_CASE_COLUMNS` say of each case at the operating point; most missed boxes and false alarms first."""
    counts = whole.point.sum(axis=0) if len(whole.point) else np.zeros((len(rows), 3))
    cases: list[Case] = []
    for (case, (row,)), (hits, false, references) in zip(rows.items(), counts.astype(int).tolist(), strict=True):
        below = hits + false + references
        f1 = 2 * hits / below if below else None
        cases.append((case, row["group"], row["frames"], references, hits, references - hits, false, f1))
    return sorted(cases, key=lambda one: (-(one[5] + one[6]), one[0]))


def _cases_section(cases: Sequence[Case]) -> Section:
    columns = [
        Column("Case"),
        Column("Frames", numeric=True),
        Column("References", numeric=True),
        Column("Found", numeric=True),
        Column("Missed", numeric=True),
        Column("False alarms", numeric=True),
        Column("F1", numeric=True),
    ]
    which = "" if len(cases) <= CASES else f" The first {CASES} of {len(cases)}."
    text = f"Boxes at the operating point; most missed boxes and false alarms first.{which} All are in cases.csv."
    return Section("By case", [Table(columns, [[one[0], *one[2:]] for one in cases[:CASES]])], text=text)


def _gallery_section(cases: Sequence[Case], folder: Path, *, point: Point) -> list[Section]:
    items = []
    for case, _, frames, _, _, missed, false, _ in cases[:GALLERY_CASES]:
        path = picture_path(folder, case=case)
        if path.is_file():
            which = f" of the frame of {frames} that went worst" if frames > 1 else ""
            alt = f"Boxes{which} in case {case}: found ones in colour with their scores, references in white."
            words = f"{missed} missed, {false} false {'alarm' if false == 1 else 'alarms'}."
            items.append(GalleryItem(case, [Picture(path.read_bytes(), alt=alt)], text=words))
    if not items:
        return []
    text = (
        f"The cases with most errors first. Found boxes (score from {point.score:g} on) are in colour, references in "
        "white: a white box alone is a miss, a coloured one alone a false alarm. Of a clip its worst frame is shown."
    )
    return [Section("Pictures", [Gallery(items)], text=text)]


def _notes(whole: Judged, rows: CaseRows, *, point: Point) -> list[str]:
    notes = [
        "Boxes are matched as COCO does: by class, the surest first, each frame by itself, at most 100 of a class in a "
        "frame; sizes are those of the frame's own pixels. What is found in a crowd counts not at all.",
        f"Localisation F1, precision and recall: boxes with a score from {point.score:g} on, found from an IoU of 0.5 "
        "on.",
        f"{PRESENCE.title}: a frame with any reference and any box from that score on is a hit, wherever it lies and "
        "whatever it is called. So Endo-FM's F1 on KUMC was counted; it says nothing of localisation.",
        resampling(rounds=point.rounds, seed=point.seed),
    ]
    return [*notes, *_unknown(whole), *few(len({row["group"] or case for case, (row,) in rows.items()}))]


def _unknown(whole: Judged) -> list[str]:
    """Which found classes no reference has, and what became of them."""
    known = [one.name for one in whole.classes if one.positives[:, 0].any()]
    unknown = [one.name for one in whole.classes if one.name not in known and len(one.scores)]
    if not unknown:
        return []
    named = ", ".join(repr(name) for name in unknown)
    alike = "" if len(unknown) < len(whole.classes) else ": no class of the references is found at all; name them alike"
    return [
        f"No reference is a {named} (references: {', '.join(map(repr, known)) or 'none'}): such boxes have no average "
        f"precision, and are false alarms at the operating point{alike}."
    ]

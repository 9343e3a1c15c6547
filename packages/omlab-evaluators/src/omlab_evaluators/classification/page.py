"""What the classification evaluator writes: the report page, the table of all cases, the confusion matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omlab_evaluators.bootstrap import Estimate
from omlab_evaluators.classification.calibration import BINS, bins
from omlab_evaluators.classification.comparison import Comparison
from omlab_evaluators.classification.page_curves import curve_section, curves_csv, shown_curves
from omlab_evaluators.classification.page_differences import comparison_section, subgroup_sections
from omlab_evaluators.classification.page_pictures import strip_section
from omlab_evaluators.classification.plots import reliability_curve
from omlab_evaluators.classification.subgroups import Subgroups
from omlab_evaluators.classification.summary import BY_CLASS, Judged, Summary, Undefined
from omlab_evaluators.page_parts import (
    counted,
    few,
    forgotten,
    read_history,
    resampling,
    training_sections,
    write_report_page,
)
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
    csv_text,
    dot_intervals,
    heat_map,
    read_run,
    write_text,
)

Cell = str | int | float | Interval | None

SHOWN_CASES = 300
"""Cases in the table of the page; all are in cases.csv."""

SHOWN_CLASSES = 16
"""Classes whose confusion is drawn; of more, the most frequent confusions are listed."""

PLOTTED = ("sensitivity", "specificity", "auroc")

QUIET = ("quadratic_kappa",)
"""Measures of the whole that a page of two classes does not show: they have no order."""

_KEY_NOTES = {"quadratic_kappa": "of classes in order", "set_size": "classes, in the mean"}


def write_report(
    summary: Summary,
    *,
    subgroups: Sequence[Subgroups] = (),
    comparison: Comparison | None = None,
    rounds: int,
    seed: int,
    folder: Path,
) -> list[str]:
    """Write `report.html`, `cases.csv`, `curves.csv`, `confusion.csv`; gives the notes on how things were counted."""
    judged, history, run = summary.judged, read_history(folder), read_run(folder)
    notes = [*_notes(summary, rounds=rounds, seed=seed), *forgotten(history)]
    curves = shown_curves(judged, rounds=rounds, seed=seed)
    order = judged.worst_first()
    sections = [
        Section("", [_key_figures(summary)]),
        *([comparison_section(comparison)] if comparison is not None else []),
        _classes_section(summary),
        *curve_section(curves, judged),
        *subgroup_sections(subgroups),
        *strip_section(judged, order, folder=folder),
        *([] if judged.several else [_confusion_section(judged)]),
        _calibration_section(judged),
        _cases_section(judged, order),
        *training_sections(history),
        Section("Notes", [Notes(notes)]),
    ]
    write_text(_cases_csv(judged), folder / "cases.csv")
    if curves:
        write_text(curves_csv(curves), folder / "curves.csv")
    if not judged.several:
        header = ["reference", *judged.names]
        table = confusion(judged).tolist()
        write_text(
            csv_text(header, ([name, *row] for name, row in zip(judged.names, table, strict=True))),
            folder / "confusion.csv",
        )
    counts = f"{counted(len(judged.cases), 'case')}, {counted(len(judged.names), 'class')}"
    write_report_page("Classification report", sections, run=run, counts=counts, folder=folder)
    return notes


def confusion(judged: Judged) -> NDArray[np.int64]:
    """How many cases of each class (rows) were predicted as each (columns)."""
    return (judged.right.T.astype(np.int64)) @ judged.predicted.astype(np.int64)


def _key_figures(summary: Summary) -> KeyFigures:
    judged = summary.judged
    shown = []
    for measure in judged.overall:
        if measure.key in QUIET and len(judged.names) < 3:
            continue
        estimate = summary.overall[measure.key]
        title = "All classes right" if judged.several and measure.key == "accuracy" else measure.title
        note = _KEY_NOTES.get(measure.key, "mean over classes" if "mean over classes" in measure.help else "")
        if measure.key == "coverage":
            note = f"meant to be {' or '.join(f'{aim:g}' for aim in judged.aims)}"
        shown.append(KeyFigure(title, estimate.value, estimate.low, estimate.high, note=note, digits=measure.digits))
    wrong = int((~judged.correct).sum())
    return KeyFigures([*shown, KeyFigure("Wrong", wrong, note=f"of {counted(len(judged.cases), 'case')}")])


def _classes_section(summary: Summary) -> Section:
    judged = summary.judged
    text = (
        "Each class against the others, with 95 % bootstrap intervals. AUROC and average precision look at the "
        "probabilities alone, the others at what is predicted."
    )
    plotted = [
        measure.titled(measure.metric(estimate, label=name))
        for measure in BY_CLASS
        if measure.key in PLOTTED
        for name, estimate in zip(judged.names, summary.by_class[measure.key], strict=True)
    ]
    figure = Figure(
        dot_intervals(plotted),
        alt="Sensitivity, specificity and AUROC by class with 95 % intervals; the figures are in the table above.",
        caption="Lines are 95 % intervals; a row without a dot is not defined. All are best at 1; an AUROC of 0.5 is "
        "guessing.",
    )
    tables = [
        _quality_table(summary, ("sensitivity", "specificity", "f1"), caption="What is predicted"),
        _quality_table(summary, ("auroc", "average_precision"), caption="How the probabilities tell classes apart"),
    ]
    return Section("By class", [*tables, figure, _count_table(judged)], text=text)


def _quality_table(summary: Summary, keys: Sequence[str], *, caption: str) -> Table:
    """Some measures by class: all of them with their intervals would be too wide for a page."""
    judged = summary.judged
    measures = [measure for measure in BY_CLASS if measure.key in keys]
    columns = [
        Column("Class"),
        Column("Cases", numeric=True, help="cases of the class"),
        *(Column(measure.title, numeric=True, help=measure.help) for measure in measures),
    ]
    of_class = (judged.right & judged.known).sum(axis=0).tolist()
    rows: list[list[Cell]] = [
        [name, of_class[n], *(_interval(summary.by_class[measure.key][n]) for measure in measures)]
        for n, name in enumerate(judged.names)
    ]
    means = [_mean(summary, measure.key) for measure in measures]
    return Table(columns, [*rows, ["Mean over classes", None, *means]], caption=caption, strong_last=True)


def _mean(summary: Summary, key: str) -> Interval:
    """Over classes; with its interval where it is a figure of the whole."""
    if key in summary.overall:
        return _interval(summary.overall[key])
    values = [estimate.value for estimate in summary.by_class[key] if estimate.value is not None]
    return Interval(sum(values) / len(values) if values else None)


def _interval(estimate: Estimate) -> Interval:
    return Interval(estimate.value, estimate.low, estimate.high)


def _count_table(judged: Judged) -> Table:
    columns = [
        Column("Class"),
        Column("Found", numeric=True, help="of the class and predicted"),
        Column("Not found", numeric=True, help="of the class and not predicted"),
        Column("Invented", numeric=True, help="predicted and not of the class"),
        Column("Rejected", numeric=True, help="neither"),
    ]
    right, predicted, known = judged.right, judged.predicted, judged.known
    found, lost, invented, rejected = right & predicted, right & ~predicted, ~right & predicted, ~right & ~predicted
    flags = [part & known for part in (found, lost, invented, rejected)]
    if judged.several:
        columns.append(Column("Not annotated", numeric=True, help="in no figure of the class"))
        flags.append(~known)
    counts = [part.sum(axis=0).tolist() for part in flags]
    rows = [[name, *row] for name, *row in zip(judged.names, *counts, strict=True)]
    return Table(columns, rows, caption="In how many cases the class was found")


def _confusion_section(judged: Judged) -> Section:
    table = confusion(judged)
    names = judged.names
    blocks: list[Block] = []
    if len(names) <= SHOWN_CLASSES:
        blocks.append(
            Figure(
                heat_map(table.astype(float).tolist(), rows=names, columns=names, digits=0),
                alt="How often each class was predicted as each; the figures are in confusion.csv.",
                caption="Cases of the class of the row that were predicted as the class of the column: a perfect model "
                "has all of them on the diagonal.",
            )
        )
    if len(names) > 2:
        wrong = table - np.diag(np.diag(table))
        pairs = [divmod(int(place), len(names)) for place in np.argsort(-wrong, axis=None, kind="stable")[:10]]
        rows: list[list[Cell]] = [
            [names[i], names[j], int(wrong[i, j]), float(wrong[i, j] / table[i].sum())] for i, j in pairs if wrong[i, j]
        ]
        columns = [
            Column("Reference"), Column("Predicted"), Column("Cases", numeric=True),
            Column("Of the class", numeric=True, help="share of the cases of that class"),
        ]  # fmt: skip
        if rows:
            blocks.append(Table(columns, rows, caption="The most frequent confusions"))
    return Section("Confusion", blocks, text="The whole matrix is in confusion.csv.")


def _calibration_section(judged: Judged) -> Section:
    said, true, known = judged.statements
    if judged.several:
        words = "probability of a class", "share of cases that are of it"
        text = "Every probability of every annotated class"
    else:
        words = "probability of the predicted class", "share predicted rightly"
        text = "The probability of the predicted class of every case"
    figure = Figure(
        reliability_curve(bins(said[known], true[known]), said=words[0], true=words[1]),
        alt="What probabilities said against what came true, by bin, and how many are in each bin.",
        caption="On the dashed line probabilities mean what they say; below it the model is too sure.",
    )
    text += (
        f" lies in one of {BINS} bins of equal width. The expected calibration error is the mean distance of the dots "
        "from the line, weighted by how many there are."
    )
    return Section("Calibration", [figure], text=text)


def _cases_section(judged: Judged, order: Sequence[int]) -> Section:
    columns = [
        Column("Case"), Column("Reference"), Column("Predicted"),
        Column("Probability of it", numeric=True, help="of the predicted class; of several the lowest"),
        Column("Brier", numeric=True, help="squared error of the probabilities"),
    ]  # fmt: skip
    rows: list[list[Cell]] = []
    for n in order[:SHOWN_CASES]:
        chosen = judged.probabilities[n, judged.predicted[n]]
        sure = float(chosen.min()) if chosen.size else None
        rows.append([judged.cases[n], _names(judged, n, judged.right), _names(judged, n, judged.predicted), sure,
                     float(judged.brier[n])])  # fmt: skip
    which = "All cases" if len(order) <= SHOWN_CASES else f"The first {SHOWN_CASES} of {len(order)} cases"
    text = f"{which}: wrong ones first, the largest error of the probabilities first. All figures are in cases.csv."
    return Section("By case", [Table(columns, rows)], text=text)


def _names(judged: Judged, case: int, flags: NDArray[np.bool_]) -> str:
    return ", ".join(_which(judged, flags[case])) or "none"


def _notes(summary: Summary, *, rounds: int, seed: int) -> list[str]:
    judged = summary.judged
    if judged.several:
        notes = [
            "Several classes may be right in a case. Those from the result's threshold on are predicted.",
            "Balanced accuracy is the mean over classes of the mean of sensitivity and specificity.",
            "The Brier score is the mean squared error of the probabilities of the annotated classes.",
        ]
    else:
        scaled = "half the sum over both" if len(judged.names) == 2 else "the sum over"
        notes = [
            "One class is right in a case; the most probable one is predicted.",
            "Balanced accuracy is the mean over classes of their sensitivity.",
            f"The Brier score is {scaled} classes of the squared error of the probability, as mean over cases.",
        ]
    notes += [
        "AUROC counts equal probabilities half; average precision is a sum over thresholds, without interpolation.",
        _MEANS[judged.undefined],
        f"The expected calibration error (Guo et al. 2017) has {BINS} bins of equal width.",
        resampling(rounds=rounds, seed=seed),
        *_undefined(judged),
        *few(len(judged.cases)),
    ]
    return notes


_MEANS: dict[Undefined, str] = {
    "left-out": "A mean over classes weighs every class alike and leaves out those in which the figure is not defined.",
    "published": (
        "A mean over classes weighs every class alike. As in MedFMC's published figures a class without an AUROC "
        "counts with that of the class before it, and one that no case is of with an average precision of 0; means of "
        "other figures leave such classes out."
    ),
}


def _undefined(judged: Judged) -> Iterator[str]:
    """What cannot be said of some classes, and why."""
    annotated, positive, negative, given = (
        np.asarray(flags.any(axis=0))
        for flags in (judged.known, judged.right & judged.known, ~judged.right & judged.known, judged.given)
    )
    yield from _said(_which(judged, ~annotated), "it is annotated in no case and has no figure")
    yield from _said(
        _which(judged, annotated & ~positive),
        "no case is of it: sensitivity, F1, AUROC and average precision are not defined",
    )
    yield from _said(
        _which(judged, annotated & ~negative),
        "every case is of it: specificity, AUROC and average precision are not defined",
    )
    yield from _said(_which(judged, ~given), "the model has no such class, which counts as probability 0")


def _which(judged: Judged, flags: NDArray[np.bool_]) -> list[str]:
    return [name for name, flag in zip(judged.names, flags, strict=True) if flag]


def _said(names: Sequence[str], sentence: str) -> list[str]:
    if not names:
        return []
    shown = ", ".join(f"'{name}'" for name in names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return [f"{'Classes' if len(names) > 1 else 'Class'} {shown}: {sentence}."]


def _cases_csv(judged: Judged) -> str:
    header = ["case", "group", "reference", "predicted", "correct", "brier", *(f"p {name}" for name in judged.names)]
    rows = (
        [
            case, judged.groups[n], _joined(judged, n, judged.right), _joined(judged, n, judged.predicted),
            "yes" if judged.correct[n] else "no", float(judged.brier[n]), *judged.probabilities[n].tolist(),
        ]
        for n, case in enumerate(judged.cases)
    )  # fmt: skip
    return csv_text(header, rows)


def _joined(judged: Judged, case: int, flags: NDArray[np.bool_]) -> str:
    return "|".join(_which(judged, flags[case]))

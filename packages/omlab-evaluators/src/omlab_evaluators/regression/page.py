"""What the regression evaluator writes: the report page and the table of all cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from omlab_evaluators.bootstrap import Estimate
from omlab_evaluators.measures import Measure
from omlab_evaluators.page_parts import (
    counted,
    few,
    forgotten,
    read_history,
    resampling,
    training_sections,
    write_report_page,
)
from omlab_evaluators.regression.agreement import MEASURES
from omlab_evaluators.regression.plots import agreement_plot
from omlab_evaluators.regression.summary import IN_UNIT, Series, Summary
from omlab_report import (
    Column,
    Figure,
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

SHOWN_CASES = 300
"""Cases in the table of the page; all are in cases.csv."""

SHOWN_SCORES = 8
"""Scores that have a picture; each adds some hundred kilobytes to the page."""

KEY = ("mae", "rmse", "bias", "pearson", "r2")
TABLES = {
    "Errors": ("mae", "rmse", "r2"),
    "Bias and limits of agreement": ("bias", "limit_low", "limit_high"),
    "Correlation": ("pearson", "spearman"),
}


def write_report(summary: Summary, *, rounds: int, seed: int, folder: Path) -> list[str]:
    """Write `report.html` and `cases.csv` into `folder`; gives the notes that say how things were counted."""
    history, run = read_history(folder), read_run(folder)
    notes = [*_notes(summary, rounds=rounds, seed=seed), *forgotten(history)]
    sections = [
        Section("", [_key_figures(summary)]),
        Section(
            "By score", [_table(summary, keys, caption=caption) for caption, keys in TABLES.items()], text=_BY_SCORE
        ),
        *_pictures(summary),
        _cases_section(summary),
        *training_sections(history),
        Section("Notes", [Notes(notes)]),
    ]
    write_text(_cases_csv(summary), folder / "cases.csv")
    counts = f"{counted(summary.cases, 'case')}, {counted(len(summary.series), 'score')}"
    write_report_page("Regression report", sections, run=run, counts=counts, folder=folder)
    return notes


_BY_SCORE = (
    "With 95 % bootstrap intervals. A difference is the result less its reference; about 95 % of new cases would have "
    "theirs between the limits of agreement."
)


def _key_figures(summary: Summary) -> KeyFigures:
    """Of one score the figures that say most, of several the absolute error of each."""
    pairs = list(zip(summary.series, summary.figures, strict=True))
    keys = KEY if len(pairs) == 1 else ("mae",)
    return KeyFigures(
        [
            _key_figure(measure, one, figures, title=measure.title if len(pairs) == 1 else f"MAE of {one.name}")
            for one, figures in pairs[:SHOWN_SCORES]
            for measure in MEASURES
            if measure.key in keys
        ]
    )


def _key_figure(measure: Measure, series: Series, figures: Mapping[str, Estimate], *, title: str) -> KeyFigure:
    estimate, in_unit = figures[measure.key], measure.key in IN_UNIT
    digits = _digits([figures["mae"]]) if in_unit else measure.digits
    unit = series.unit if in_unit else ""
    return KeyFigure(title, estimate.value, estimate.low, estimate.high, unit=unit, digits=digits)


def _table(summary: Summary, keys: Sequence[str], *, caption: str) -> Table:
    """Some measures by score: all of them with their intervals would be too wide for a page."""
    measures = [measure for measure in MEASURES if measure.key in keys]
    digits = _digits([figures["mae"] for figures in summary.figures])
    columns = [Column("Score"), Column("Cases", numeric=True, help="with a reference and a result")]
    for measure in measures:
        shown = digits if measure.key in IN_UNIT else measure.digits
        columns.append(Column(measure.title, numeric=True, digits=shown, help=measure.help))
    rows: list[list[Cell]] = []
    for one, figures in zip(summary.series, summary.figures, strict=True):
        name = f"{one.name} ({one.unit})" if one.unit else one.name
        cells = [Interval(figures[m.key].value, figures[m.key].low, figures[m.key].high) for m in measures]
        rows.append([name, len(one.cases), *cells])
    return Table(columns, rows, caption=caption)


def _digits(errors: Sequence[Estimate]) -> int:
    """Decimals that show three digits of the smallest of some errors: what is finer is noise."""
    sizes = [estimate.value for estimate in errors if estimate.value]
    return min(6, max(1, 2 - math.floor(math.log10(min(sizes))))) if sizes else 3


def _pictures(summary: Summary) -> list[Section]:
    sections = []
    pairs = [pair for pair in zip(summary.series, summary.figures, strict=True) if pair[0].cases]
    for one, figures in pairs[:SHOWN_SCORES]:
        figure = Figure(
            agreement_plot(one, figures),
            alt=f"Differences of {one.name} over the mean of reference and result, with bias and limits of agreement; "
            "and results over references. The figures are in cases.csv.",
            caption="Every dot is a case. The line is the bias, dashed lines are the limits of agreement, bands their "
            "95 % intervals. On the dashed diagonal result and reference are equal.",
        )
        sections.append(Section(f"Agreement of {one.name}" if len(pairs) > 1 else "Agreement", [figure]))
    return sections


def _cases_section(summary: Summary) -> Section:
    columns = [
        Column("Case"), Column("Score"), Column("Reference", numeric=True), Column("Result", numeric=True),
        Column("Difference", numeric=True), Column("Of the RMSE", numeric=True, digits=1),
    ]  # fmt: skip
    rows: list[list[Cell]] = []
    for one, figures in zip(summary.series, summary.figures, strict=True):
        rmse = figures["rmse"].value or 1.0
        rows += [
            [case, one.name, float(reference), float(result), float(result - reference), abs(result - reference) / rmse]
            for case, reference, result in zip(one.cases, one.reference, one.result, strict=True)
        ]
    rows.sort(key=lambda row: -float(row[5]))  # type: ignore[arg-type]  # a float, as above
    which = "All cases" if len(rows) <= SHOWN_CASES else f"The first {SHOWN_CASES} of {len(rows)} numbers"
    text = f"{which}, the largest difference first, measured by the RMSE of its score. All figures are in cases.csv."
    return Section("By case", [Table(columns, rows[:SHOWN_CASES])], text=text)


def _notes(summary: Summary, *, rounds: int, seed: int) -> list[str]:
    notes = [
        "Limits of agreement (Bland and Altman 1986): the bias -/+ 1.96 standard deviations of the differences.",
        "R2 is 1 less the squared differences over those of the references from their mean: it is negative where the "
        "mean would have been the better result.",
        resampling(rounds=rounds, seed=seed),
    ]
    for one, figures in zip(summary.series, summary.figures, strict=True):
        notes += _reservations(one, figures)
    return [*notes, *few(max((len(one.cases) for one in summary.series), default=0))]


def _reservations(one: Series, figures: dict[str, Estimate]) -> list[str]:
    notes = []
    if one.unmeasured:
        notes.append(
            f"'{one.name}' has no reference in {counted(one.unmeasured, 'case')}, which count in none of its figures."
        )
    if one.missing:
        notes.append(
            f"The model gives no '{one.name}' in {counted(one.missing, 'case')}, which count in none of its figures."
        )
    if len(one.cases) == 1:
        notes.append(f"'{one.name}' is known of one case: limits of agreement and correlation are not defined.")
    elif figures["r2"].value is None and one.cases:
        notes.append(f"All references of '{one.name}' are alike: correlation and R2 are not defined.")
    elif figures["pearson"].value is None and one.cases:
        notes.append(f"All results of '{one.name}' are alike: correlation is not defined.")
    return notes


def _cases_csv(summary: Summary) -> str:
    header = ["case", "group", "score", "unit", "reference", "result", "difference"]
    rows = (
        [case, group, one.name, one.unit, float(reference), float(result), float(result - reference)]
        for one in summary.series
        for case, group, reference, result in zip(one.cases, one.groups, one.reference, one.result, strict=True)
    )
    return csv_text(header, rows)

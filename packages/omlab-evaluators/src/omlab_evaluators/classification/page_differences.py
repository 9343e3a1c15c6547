"""Differences on the page: between parts of the cases (site, sex, device), and from another model."""

from __future__ import annotations

from collections.abc import Sequence

from omlab_evaluators.classification.comparison import Compared, Comparison
from omlab_evaluators.classification.subgroups import Subgroup, Subgroups
from omlab_evaluators.measures import Measure
from omlab_evaluators.page_parts import counted
from omlab_report import Block, Column, Figure, Interval, Notes, Section, Table, dot_intervals

Cell = str | int | float | Interval | None

TABLED = ("auroc", "average_precision", "balanced_accuracy", "accuracy")
CALIBRATED = ("brier", "ece", "coverage")


def subgroup_sections(found: Sequence[Subgroups]) -> list[Section]:
    """A section for each column: which value is served worst, the figures of all, and a picture of them."""
    return [_subgroup_section(one) for one in found]


def comparison_section(comparison: Comparison) -> Section:
    """Both models' figures on the cases that both have, and the differences."""
    if not comparison.rows:
        text = f"No case is common with {comparison.name}, or all that are have other references there."
        return Section(f"Compared with {comparison.name}", [], text=text)
    columns = [
        Column("Figure"),
        Column("Difference", numeric=True, help="this model less the other, with its 95 % interval"),
        Column("This model is"),
        Column("This model", numeric=True),
        Column("The other", numeric=True),
    ]
    rows: list[list[Cell]] = [
        [row.measure.title, _interval(row), _verdict(row), row.ours, row.theirs] for row in comparison.rows
    ]
    return Section(
        f"Compared with {comparison.name}",
        [Table(columns, rows), *_left_out(comparison)],
        text=(
            f"On the {counted(comparison.cases, 'case')} that both were judged on. In each round of the bootstrap the "
            "same patients are drawn for both; a difference is clear where its interval leaves out 0. Of many figures "
            "one in twenty does so by chance."
        ),
    )


def _left_out(comparison: Comparison) -> list[Block]:
    notes = [
        f"{counted(number, 'case')} {what}: left out."
        for number, what in (
            (comparison.ours_alone, "of this model alone"),
            (comparison.theirs_alone, "of the other alone"),
            (comparison.differing, "with another reference there"),
        )
        if number
    ]
    return [Notes(notes)] if notes else []


def _interval(row: Compared) -> Interval:
    return Interval(row.difference.value, row.difference.low, row.difference.high)


def _verdict(row: Compared) -> str:
    if row.difference.value is None or row.difference.low is None:
        return "not defined"
    if not row.is_clear:
        return "not clearly different"
    return "better" if row.is_better else "worse"


def _subgroup_section(found: Subgroups) -> Section:
    measures = _measures(found.groups)
    tables = [
        _table(found, [measure for measure in measures if measure.key in keys], caption=caption)
        for keys, caption in ((TABLED, "Decisions and ranking"), (CALIBRATED, "Probabilities"))
    ]
    blocks: list[Block] = [table for table in tables if table is not None]
    ranked = next((measure for measure in measures if measure.key == found.ranked_by), None)
    if ranked is not None:
        plotted = [
            ranked.titled(ranked.metric(group.summary.overall[ranked.key], label=group.value)) for group in found.groups
        ]
        alt = f"{ranked.title} of each value of {found.column} with 95 % intervals; the figures are in the table."
        caption = (
            "Lines are 95 % intervals. Where two overlap much, the cases do not say that these groups are served "
            "differently."
        )
        blocks.insert(0, Figure(dot_intervals(plotted), alt=alt, caption=caption))
    return Section(f"By {found.column}", blocks, text=_worst(found, ranked))


def _measures(groups: Sequence[Subgroup]) -> list[Measure]:
    """Those that all groups have."""
    first = groups[0].summary.judged.overall if groups else ()
    return [measure for measure in first if all(measure in group.summary.judged.overall for group in groups)]


def _table(found: Subgroups, measures: Sequence[Measure], *, caption: str) -> Table | None:
    if not measures:
        return None
    columns = [
        Column(found.column.capitalize()),
        Column("Cases", numeric=True),
        *(Column(measure.title, numeric=True, help=measure.help) for measure in measures),
    ]
    rows: list[list[Cell]] = []
    for group in found.groups:
        estimates = [group.summary.overall[measure.key] for measure in measures]
        rows.append([group.value, group.cases, *(Interval(e.value, e.low, e.high) for e in estimates)])
    return Table(columns, rows, caption=caption)


def _worst(found: Subgroups, ranked: Measure | None) -> str:
    more = f" Of {counted(found.hidden, 'further value')} with fewer cases nothing is shown." if found.hidden else ""
    worst, best = found.worst, found.best
    if ranked is None or worst is None or best is None:
        return f"No figure is defined in two groups, so that none is the worst.{more}"
    low, high = (group.summary.overall[ranked.key] for group in (worst, best))
    overlap = None in (low.high, high.low) or float(low.high or 0) >= float(high.low or 0)
    words = ("Lowest", "highest") if overlap else ("Worst", "best")
    shown = "; ".join(
        f"{word}: {group.value} ({figure}, {counted(group.cases, 'case')})"
        for word, group, figure in (
            (words[0], worst, f"{ranked.title} {_text(low.value)}"),
            (words[1], best, _text(high.value)),
        )
    )
    said = (
        "Their intervals overlap: the cases do not say that one is served worse than the other."
        if overlap
        else "Their intervals do not overlap."
    )
    return f"{shown}. {said}{more}"


def _text(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"

"""What the survival evaluator writes: the report page and the table of all cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from omlab_evaluators.bootstrap import Estimate
from omlab_evaluators.page_parts import counted, few, read_history, resampling, training_sections, write_report_page
from omlab_evaluators.survival.brier import kaplan_meier, log_rank
from omlab_evaluators.survival.summary import BRIER, CONCORDANCE, INTEGRATED, Followed, Summary
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
    read_run,
    write_text,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from omlab_report.themes import Theme

Cell = str | int | float | Interval | None
Flags = NDArray[np.bool_]

SHOWN_CASES = 300
"""Cases in the table of the page; all are in cases.csv."""

GROUPS = ("low", "middle", "high")
"""Thirds of the cases by their risk."""

MARKS = 5
"""Times at which it is said how many are followed."""


@dataclass(frozen=True, kw_only=True)
class RiskGroup:
    """A third of the cases."""

    name: str
    flags: Flags


def write_report(summary: Summary, *, rounds: int, seed: int, folder: Path) -> list[str]:
    """Write `report.html` and `cases.csv` into `folder`; gives the notes that say how things were counted."""
    followed, history, run = summary.followed, read_history(folder), read_run(folder)
    notes = _notes(summary, rounds=rounds, seed=seed)
    sections = [
        Section("", [_key_figures(summary)]),
        *_survival_section(followed),
        *_brier_section(summary),
        _cases_section(followed),
        *training_sections(history),
        Section("Notes", [Notes(notes)]),
    ]
    write_text(_cases_csv(followed), folder / "cases.csv")
    counts = f"{counted(len(followed.cases), 'case')}, {counted(int(followed.events.sum()), 'event')}"
    write_report_page("Survival report", sections, run=run, counts=counts, folder=folder)
    return notes


def risk_groups(risks: NDArray[np.float64]) -> list[RiskGroup]:
    """Thirds by risk, as far as risks differ."""
    cuts = np.quantile(risks, [1 / 3, 2 / 3])
    third = np.searchsorted(cuts, risks, side="left")
    found = [RiskGroup(name=name, flags=third == n) for n, name in enumerate(GROUPS)]
    return [group for group in found if group.flags.any()]


def _key_figures(summary: Summary) -> KeyFigures:
    followed = summary.followed
    shown = [_key_figure(CONCORDANCE.title, summary.concordance, note="0.5 is chance")]
    if len(followed.horizons):
        shown.append(_key_figure(INTEGRATED.title, summary.integrated, note="lower is better"))
    events = int(followed.events.sum())
    middle = float(np.median(followed.times))
    return KeyFigures(
        [
            *shown,
            KeyFigure("Events", events, note=f"of {counted(len(followed.cases), 'case')}"),
            KeyFigure("Median time", middle, unit=followed.unit, digits=1, note="to event or end of follow-up"),
        ]
    )


def _key_figure(title: str, estimate: Estimate, *, note: str) -> KeyFigure:
    return KeyFigure(title, estimate.value, estimate.low, estimate.high, note=note)


def _survival_section(followed: Followed) -> list[Section]:
    groups = risk_groups(followed.risks)
    if len(groups) < 2:
        return [Section("By risk", [], text="All risks are alike: there are no groups to compare.")]
    ends = [(followed.times[g.flags], followed.events[g.flags]) for g in (groups[0], groups[-1])]
    p = log_rank(ends)
    said = "" if p is None else f" Log-rank test of {groups[-1].name} against {groups[0].name}: p {_p_value(p)}."
    marks = np.linspace(0, followed.times.max(), MARKS + 1)[:-1]
    columns = [
        Column("Risk"), Column("Cases", numeric=True), Column("Events", numeric=True),
        *(Column(f"At {_short(mark)}", numeric=True, help="cases that are followed until then") for mark in marks),
    ]  # fmt: skip
    rows: list[list[Cell]] = [
        [
            group.name, int(group.flags.sum()), int(followed.events[group.flags].sum()),
            *(int((followed.times[group.flags] >= mark).sum()) for mark in marks),
        ]
        for group in groups
    ]  # fmt: skip
    figure = Figure(
        _kaplan_meier_plot(followed, groups),
        alt="Kaplan-Meier curves by risk, with 95 % bands; the cases that are followed stand in the table.",
        caption="The further apart the curves, the better risks tell who has the event early. Bands: 95 %, by case "
        "(Greenwood, log-log). Ticks: follow-up ended.",
    )
    text = f"The share without an event over time, in thirds of the cases by the model's risk.{said}"
    return [Section("By risk", [figure, Table(columns, rows, caption="Still followed")], text=text)]


def _brier_section(summary: Summary) -> list[Section]:
    followed = summary.followed
    if not len(followed.horizons):
        return []
    unit = f" ({followed.unit})" if followed.unit else ""
    columns = [Column(f"Until{unit}", numeric=True, digits=1), Column(BRIER.title, numeric=True, help=BRIER.help)]
    rows: list[list[Cell]] = [
        [float(horizon), Interval(estimate.value, estimate.low, estimate.high)]
        for horizon, estimate in zip(followed.horizons, summary.by_horizon, strict=True)
    ]
    blocks: list[Block] = [Table(columns, rows)]
    known = [BRIER.metric(e, label=f"{h:g}") for h, e in zip(followed.horizons, summary.by_horizon, strict=True)]
    if len(known) > 1:
        plotted = [BRIER.titled(metric) for metric in known]
        alt = "Brier score by time; the figures are in the table above."
        caption = "Dots are the errors, lines their 95 % intervals; further left is better, and 0.25 is a coin's."
        blocks.append(Figure(dot_intervals(plotted), alt=alt, caption=caption))
    text = "The squared error of the probability of no event until each time: 0.25 is what a coin gives."
    return [Section("Survival probabilities", blocks, text=text)]


def _kaplan_meier_plot(followed: Followed, groups: Sequence[RiskGroup]) -> Callable[[Theme], Canvas]:
    def draw(theme: Theme) -> Canvas:
        from matplotlib.figure import Figure as Canvas_

        canvas = Canvas_(figsize=(theme.width, 3.9 if theme.narrow else 4.4), layout="constrained")
        axes = canvas.subplots()
        for n, group in enumerate(groups):
            times, events = followed.times[group.flags], followed.events[group.flags]
            x, y, low, high = (np.asarray(part) for part in kaplan_meier(times, events))
            x, y, low, high = np.r_[0.0, x], np.r_[1.0, y], np.r_[1.0, low], np.r_[1.0, high]
            colour = theme.series[n % len(theme.series)]
            axes.step(x, y, where="post", color=colour, linewidth=1.7, label=f"{group.name} risk")
            axes.fill_between(x, low, high, step="post", color=colour, alpha=0.13, linewidth=0)
            ended = np.unique(times[~events])
            place = np.searchsorted(x, ended, side="right") - 1
            axes.plot(ended, y[place], "|", color=colour, markersize=5)
        axes.set_ylim(0, 1.01)
        axes.set_xlim(left=0)
        axes.set_xlabel(f"time{f' ({followed.unit})' if followed.unit else ''}".replace("$", r"\$"))
        axes.set_ylabel("without an event")
        axes.grid()
        canvas.legend(frameon=False, loc="outside lower left", ncols=1 if theme.narrow else len(groups))
        return canvas

    return draw


def _cases_section(followed: Followed) -> Section:
    order = np.argsort(-followed.risks, kind="stable")
    unit = f" ({followed.unit})" if followed.unit else ""
    columns = [
        Column("Case"), Column("Risk", numeric=True), Column(f"Time{unit}", numeric=True, digits=1),
        Column("Event", help="yes: it was the event; no: follow-up ended"),
    ]  # fmt: skip
    rows: list[list[Cell]] = [
        [followed.cases[n], float(followed.risks[n]), float(followed.times[n]), "yes" if followed.events[n] else "no"]
        for n in order[:SHOWN_CASES].tolist()
    ]
    which = "All cases" if len(order) <= SHOWN_CASES else f"The first {SHOWN_CASES} of {len(order)} cases"
    return Section("By case", [Table(columns, rows)], text=f"{which}, the highest risk first. All are in cases.csv.")


def _notes(summary: Summary, *, rounds: int, seed: int) -> list[str]:
    followed = summary.followed
    notes = [
        "Concordance (Harrell, Lee and Mark 1996): of the pairs of which it is known who had the event first, those in "
        "which that one had the higher risk; equal risks count half.",
    ]
    if len(followed.horizons):
        notes.append(
            "Brier score (Graf et al. 1999): cases whose follow-up ended before are stood for by the others, weighted "
            "by the inverse probability of being followed, which is estimated once from all cases. Integrated: the "
            "mean over the time between the first and the last horizon that has a score."
        )
    else:
        notes.append("The model gives no survival probabilities (survival@TIME): there is no Brier score.")
    lost = [f"{h:g}" for h, e in zip(followed.horizons, summary.by_horizon, strict=True) if e.value is None]
    if lost:
        notes.append(f"Nobody was followed beyond {', '.join(lost)}: the Brier score is not defined there.")
    if summary.concordance.value is None:
        notes.append("Of no pair it is known who had the event first: concordance is not defined.")
    return [*notes, resampling(rounds=rounds, seed=seed), *few(len(followed.cases))]


def _short(time: float) -> str:
    return f"{time:.0f}" if time >= 100 else f"{time:.3g}"


def _p_value(p: float) -> str:
    return "below 0.001" if p < 0.001 else f"= {p:.3f}"


def _cases_csv(followed: Followed) -> str:
    header = ["case", "group", "time", "event", "risk", *(f"survival@{horizon:g}" for horizon in followed.horizons)]
    rows = (
        [
            case, followed.groups[n], float(followed.times[n]), int(followed.events[n]), float(followed.risks[n]),
            *followed.survival[n].tolist(),
        ]
        for n, case in enumerate(followed.cases)
    )  # fmt: skip
    return csv_text(header, rows)

"""What the multiple-choice evaluator writes: the report page and the table of all answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omlab_evaluators.bootstrap import Estimate
from omlab_evaluators.classification.calibration import BINS
from omlab_evaluators.classification.plots import reliability_curve
from omlab_evaluators.measures import Measure
from omlab_evaluators.multiple_choice.chosen import By
from omlab_evaluators.multiple_choice.summary import ACCURACY, OF_ROTATIONS, Judged, Summary
from omlab_evaluators.page_parts import counted, few, resampling, write_report_page
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
    dot_intervals,
    read_run,
    write_text,
)

Cell = str | int | float | Interval | None

SHOWN_CASES = 300
"""Answers in the table of the page; all are in cases.csv."""

_LENGTHS = {"sum": "as it is", "token": "per token", "byte": "per byte"}


def write_report(summary: Summary, *, by: By, rounds: int, seed: int, folder: Path) -> list[str]:
    """Write `report.html` and `cases.csv` into `folder`; gives the notes that say how things were counted."""
    found, run = summary.judged, read_run(folder)
    notes = [*_notes(found, by=by), resampling(rounds=rounds, seed=seed), *few(len(set(found.groups)))]
    sections = [
        Section("", [KeyFigures([_key_figure(measure, summary.whole[measure.key]) for measure in summary.shown])]),
        *([_subjects(summary)] if summary.subjects else []),
        *([_calibration(found)] if found.has_likelihoods else []),
        *([_positions(found)] if found.questions else []),
        _cases(found),
        Section("Notes", [Notes(notes)]),
    ]
    write_text(csv_text(_COLUMNS, _csv_rows(found)), folder / "cases.csv")
    questions = len({row["question"] for row in found.rows})
    counts = f"{counted(questions, 'question')}, {counted(len(found.rows), 'answer')}"
    write_report_page("Multiple-choice report", sections, run=run, counts=counts, folder=folder)
    return notes


_COLUMNS = ("case", "question", "subject", "rotation", "options", "answer", "chosen", "right", "probability")


def _notes(found: Judged, *, by: By) -> list[str]:
    chance = sum(1 / row["options"] for row in found.rows) / len(found.rows)
    how = (
        f"The chosen option is the likeliest by its log-probability {_LENGTHS[by]}; its probability is the softmax "
        "over the options."
        if found.has_likelihoods
        else "The chosen option is the letter that an answer announces last, begins with, or alone holds; an answer "
        "that names none, or several, is wrong."
    )
    return [how, f"Guessing is right in {chance:.3f} of the answers."]


def _key_figure(measure: Measure, found: Estimate) -> KeyFigure:
    return KeyFigure(measure.title, found.value, found.low, found.high, digits=measure.digits, note=measure.help)


def _subjects(summary: Summary) -> Section:
    rows: list[list[Cell]] = [
        [subject, Interval(found.value, found.low, found.high), found.n] for subject, found in summary.subjects.items()
    ]
    columns = [Column("Subject"), Column("Accuracy", numeric=True), Column("Answers", numeric=True)]
    metrics = [ACCURACY.titled(ACCURACY.metric(found, label=subject)) for subject, found in summary.subjects.items()]
    alt = "Accuracy by subject with its 95 % interval; the figures are in the table above."
    caption = "Dots are the shares of right answers, lines their 95 % intervals; further right is better."
    return Section("By subject", [Table(columns, rows), Figure(dot_intervals(metrics), alt=alt, caption=caption)])


def _calibration(found: Judged) -> Section:
    curve = reliability_curve(found.bins, said="probability of the chosen option", true="share that is right")
    alt = f"Share of right answers by the chosen option's probability, in {len(found.bins)} of {BINS} bins."
    caption = (
        "A dot is a bin of answers: how sure the model was of them, and how many were right. On the dashed line it is "
        "right as often as it is sure; below it is too sure. The bars count the answers of each bin."
    )
    return Section("Calibration", [Figure(curve, alt=alt, caption=caption)])


def _positions(found: Judged) -> Section:
    """How often each place was chosen, beside how often the right option stood there: the pull of a place."""
    places = range(max(row["options"] for row in found.rows))
    turned = [found.rows[place] for places in found.questions.values() for place in places]
    rows: list[list[Cell]] = [
        [place + 1, *(sum(row[key] == place for row in turned) / len(turned) for key in ("chosen", "answer"))]
        for place in places
    ]
    columns = [Column("Place"), Column("Chosen", numeric=True), Column("Right", numeric=True)]
    text = " ".join([
        f"{counted(len(found.questions), 'question')} with options in every rotation: a model that knows the answer",
        "chooses each place as often as it is right.",
        *(f"{measure.title}: {measure.help}." for measure in OF_ROTATIONS),
    ])  # fmt: skip
    return Section("When options are rotated", [Table(columns, rows)], text=text)


def _cases(found: Judged) -> Section:
    wrong_first = sorted(_csv_rows(found), key=lambda row: (row[7], row[0]))
    text = (
        f"The first {SHOWN_CASES} of {len(wrong_first)}; all are in cases.csv."
        if len(wrong_first) > SHOWN_CASES
        else ""
    )
    columns = [Column(name.capitalize(), numeric=name in ("options", "probability")) for name in _COLUMNS]
    return Section("Answers, wrong ones first", [Table(columns, wrong_first[:SHOWN_CASES])], text=text)


def _csv_rows(found: Judged) -> Sequence[list[Any]]:
    return [_csv_row(name, row) for name, row in zip(found.names, found.rows, strict=True)]


def _csv_row(name: str, row: Mapping[str, Any]) -> list[Any]:
    """Places of options count from 1."""
    return [
        name,
        row["question"],
        row["subject"] or "",
        row["rotation"],
        row["options"],
        row["answer"] + 1,
        None if row["chosen"] is None else row["chosen"] + 1,
        int(row["chosen"] == row["answer"]),
        row.get("probability"),
    ]

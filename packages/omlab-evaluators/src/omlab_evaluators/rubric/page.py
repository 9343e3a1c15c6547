"""What the rubric evaluator writes: the report page, and the table of all criteria."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omlab_evaluators.bootstrap import Estimate
from omlab_evaluators.measures import Measure
from omlab_evaluators.page_parts import counted, few, resampling, write_report_page
from omlab_evaluators.rubric.scores import score
from omlab_evaluators.rubric.summary import SCORE, Judged, Summary
from omlab_report import (
    Block,
    Column,
    Facts,
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

Row = Mapping[str, Any]
Cell = str | int | float | Interval | None

SHOWN_ANSWERS = 50
"""Answers on the page; the criteria of all are in criteria.csv."""
LONGEST = 4000
"""Characters of a text on the page."""
_COLUMNS = ("case", "criterion", "text", "points", "tags", "met", "reason", "experts_met", "experts")


def write_report(summary: Summary, *, rounds: int, seed: int, folder: Path) -> list[str]:
    """Write `report.html` and `criteria.csv` into `folder`; gives the notes that say how things were counted."""
    judged, run = summary.judged, read_run(folder)
    notes = [*_notes(judged), resampling(rounds=rounds, seed=seed), *few(len(set(judged.groups)))]
    sections = [
        Section("", [KeyFigures([_key_figure(measure, summary.whole[measure.key]) for measure in summary.shown])]),
        *([_tags(summary)] if summary.tags else []),
        *_answers(judged),
        Section("Notes", [Notes(notes)]),
    ]
    write_text(csv_text(_COLUMNS, _csv_rows(judged)), folder / "criteria.csv")
    criteria = sum(len(row["criteria"]) for row in judged.rows)
    counts = f"{counted(len(judged.rows), 'answer')} judged by {criteria} criteria"
    write_report_page("Rubric report", sections, run=run, counts=counts, folder=folder)
    return notes


def _notes(judged: Judged) -> list[str]:
    judges = ", ".join(sorted({row["judge"] or "a judge without a name" for row in judged.rows}))
    another = sum(row["marks_of_another"] for row in judged.rows)
    notes = [
        f"Verdicts are those of {judges}: a language model's opinion, not medical truth.",
        "An answer's score is the points of all criteria that it meets over the sum of those above 0 (HealthBench, "
        "arXiv:2505.08775). It may be below 0; means over answers are clipped to 0..1, in each round of the bootstrap.",
        "Criteria without a verdict count neither as earned nor as possible.",
        "A tag's score is that of the criteria that have it, or, where it is a question's, of all its criteria.",
    ]
    if another:
        notes.append(f"The experts' marks on {counted(another, 'question')} are of another answer: they do not count.")
    return notes


def _key_figure(measure: Measure, found: Estimate) -> KeyFigure:
    return KeyFigure(measure.title, found.value, found.low, found.high, digits=measure.digits, note=measure.help)


def _tags(summary: Summary) -> Section:
    rows: list[list[Cell]] = [
        [tag, Interval(found.value, found.low, found.high), found.n] for tag, found in summary.tags.items()
    ]
    metrics = [SCORE.titled(SCORE.metric(found, label=tag)) for tag, found in summary.tags.items()]
    columns = [Column("Tag"), Column("Score", numeric=True), Column("Answers", numeric=True)]
    alt = "Score by tag with its 95 % interval; the figures are in the table above."
    caption = "Dots are mean scores, lines their 95 % intervals; further right is better, and 1 meets every criterion."
    return Section("By tag", [Table(columns, rows), Figure(dot_intervals(metrics), alt=alt, caption=caption)])


def _answers(judged: Judged) -> Iterator[Section]:
    """The answers, the worst first: what was asked, what was answered, which criteria are met and why."""
    worst = sorted(zip(judged.names, judged.rows, strict=True), key=lambda pair: (_value(pair[1]), pair[0]))
    text = f"The {SHOWN_ANSWERS} worst of {len(worst)}; all are in criteria.csv." if len(worst) > SHOWN_ANSWERS else ""
    yield Section("Answers, the worst first", [], text=text)
    for name, row in worst[:SHOWN_ANSWERS]:
        yield Section(f"{name}: {_shown(_value(row))}", _answer(row))


def _answer(row: Row) -> list[Block]:
    said = {f"{role} {number}" if number else role: text for number, role, text in _numbered(row["asked"])}
    columns = [Column("Criterion"), Column("Points", numeric=True, digits=1), Column("Verdict"), Column("Reason")]
    has_experts = any(criterion["experts"] for criterion in row["criteria"])
    rows: list[list[Cell]] = [
        [
            _cut(criterion["criterion"]),
            criterion["points"],
            _verdict(criterion),
            _cut(criterion["reason"]),
            *([_experts(criterion)] if has_experts else []),
        ]
        for criterion in row["criteria"]
    ]
    facts = {name: _cut(text) for name, text in {**said, "answer": row["answer"]}.items()}
    return [Facts(facts), Table([*columns, *([Column("Experts")] if has_experts else [])], rows)]


def _numbered(asked: Sequence[Sequence[str]]) -> Iterator[tuple[int, str, str]]:
    """Who said what; numbered where there is more than one turn of the role."""
    roles = [role for role, _ in asked]
    for place, (role, text) in enumerate(asked):
        yield (roles[: place + 1].count(role) if roles.count(role) > 1 else 0), role, text


def _verdict(criterion: Row) -> str:
    if criterion["met"] is None:
        return "no verdict"
    if criterion["points"] < 0:
        return "fault" if criterion["met"] else "no fault"
    return "met" if criterion["met"] else "missed"


def _experts(criterion: Row) -> str:
    marks = criterion["experts"].values()
    return f"{sum(marks)} of {len(marks)}: met" if marks else ""


def _value(row: Row) -> float:
    """The score by which answers are ordered: those without one come last."""
    found = score(row["criteria"])
    return math.inf if math.isnan(found) else found


def _shown(value: float) -> str:
    return "no score" if math.isinf(value) else f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


def _csv_rows(judged: Judged) -> Iterator[list[Any]]:
    for name, row in zip(judged.names, judged.rows, strict=True):
        for number, criterion in enumerate(row["criteria"], start=1):
            marks = criterion["experts"].values()
            yield [
                name,
                number,
                criterion["criterion"],
                criterion["points"],
                " ".join(criterion["tags"]),
                "" if criterion["met"] is None else int(criterion["met"]),
                criterion["reason"],
                sum(marks) if marks else "",
                len(marks) if marks else "",
            ]

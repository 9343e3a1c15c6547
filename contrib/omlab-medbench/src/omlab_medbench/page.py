"""What `omlab medbench score` writes: the page of scores, and its table as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omlab.roles import Metric
from omlab_report import (
    Column,
    Figure,
    Interval,
    KeyFigure,
    KeyFigures,
    Notes,
    Page,
    Section,
    Table,
    csv_text,
    dot_intervals,
    read_run,
    run_sections,
    write_page,
    write_text,
)

Row = Mapping[str, Any]
CSV_COLUMNS = (
    "set",
    "dimension",
    "task",
    "metric",
    "items",
    "blank",
    "compat",
    "strict",
    "low",
    "high",
    "prompt_spread",
    "circular",
    "overlapping",
    "clean",
)


def write_scores(details: Row, *, notes: Sequence[str], titles: Mapping[str, str], folder: Path) -> None:
    """Write `report.html` and `scores.csv` into `folder`."""
    total, dimensions, sets = details["total"], details["dimensions"], details["sets"]
    named = {titles[key]: row for key, row in dimensions.items()}
    sections = [
        Section("", [_key_figures(total, sets)]),
        Section("By dimension", [_dimension_table(named, total), _plot({**named, "total": total}, what="dimension")]),
        Section("By set", [_set_table(sets), _plot(sets, what="set")], text=_SETS),
    ]
    if any("circular" in row or "overlapping" in row for row in sets.values()):
        sections.append(_stricter(sets))
    if any("prompts" in row for row in sets.values()):
        sections.append(_prompts(sets))
    if any("sections" in row for row in sets.values()):
        sections.append(_records(sets))
    sections.append(Section("Notes", [Notes(notes)]))
    sections += run_sections(read_run(folder))
    write_text(_csv(sets), folder / "scores.csv")
    items = sum(row["items"] for row in sets.values())
    subtitle = f"{details['version']}: {items} answers to {len(sets)} sets in {len(dimensions)} dimensions"
    write_page(Page("MedBench", sections, subtitle=subtitle), folder / "report.html")


_SETS = (
    "Strict scores read answers as a careful reader would; compatible ones as the public evaluation code does. A large "
    "difference says that format, not knowledge, decided. A dash: that code gives no score."
)


def _key_figures(total: Row, sets: Mapping[str, Row]) -> KeyFigures:
    blank, items = sum(row["blank"] for row in sets.values()), sum(row["items"] for row in sets.values())
    return KeyFigures([
        KeyFigure("Total, strict", total["strict"], total["low"], total["high"]),
        KeyFigure("Total, compatible", total["compat"]),
        KeyFigure("Blank answers", blank, note=f"of {items}"),
    ])  # fmt: skip


def _dimension_table(named: Mapping[str, Row], total: Row) -> Table:
    columns = [
        Column("Dimension"), Column("Strict", numeric=True), Column("Compatible", numeric=True),
        Column("Sets", numeric=True),
    ]  # fmt: skip
    rows = [[title, _strict(row), row["compat"], len(row["sets"])] for title, row in named.items()]
    rows.append(["Total", _strict(total), total["compat"], sum(len(row["sets"]) for row in named.values())])
    return Table(columns, rows, strong_last=True)


def _set_table(sets: Mapping[str, Row]) -> Table:
    columns = [
        Column("Set"), Column("Strict", numeric=True), Column("Compatible", numeric=True), Column("Metric"),
        Column("Items", numeric=True), Column("Blank", numeric=True), Column("Task"),
    ]  # fmt: skip
    rows = [
        [name, _strict(row), row["compat"], row["metric"], row["items"], row["blank"], row["task"]]
        for name, row in sets.items()
    ]
    return Table(columns, rows)


def _plot(rows: Mapping[str, Row], *, what: str) -> Figure:
    metrics = [
        Metric(name="Strict score", label=name, value=row["strict"], low=row["low"], high=row["high"])
        for name, row in rows.items()
    ]
    return Figure(
        dot_intervals(metrics),
        alt=f"Strict score by {what} with its 95 % interval; the figures are in the table above.",
        caption="Dots are strict scores, lines their 95 % intervals; further right is better.",
    )


def _stricter(sets: Mapping[str, Row]) -> Section:
    """Scores that guessing and having seen the items do not raise."""
    columns = [
        Column("Set"), Column("Strict", numeric=True),
        Column("In every rotation", numeric=True, help="items that are right however their options are rotated"),
        Column("Not overlapping", numeric=True, help="strict, of the items that the training corpus does not hold"),
        Column("Overlapping", numeric=True, help="items that it holds"),
    ]  # fmt: skip
    rows = [
        [name, row["strict"], row.get("circular"), row.get("clean"), row.get("overlapping")]
        for name, row in sets.items()
        if "circular" in row or "overlapping" in row
    ]
    return Section("Guessed or seen before", [Table(columns, rows)])


def _prompts(sets: Mapping[str, Row]) -> Section:
    columns = [
        Column("Set"), Column("Spread", numeric=True, help="highest minus lowest score of an instruction"),
        Column("Lowest", numeric=True), Column("Highest", numeric=True), Column("Instructions", numeric=True),
    ]  # fmt: skip
    rows = [
        [name, row["prompt_spread"], min(found.values()), max(found.values()), len(found)]
        for name, row in sets.items()
        if (found := row.get("prompts"))
    ]
    text = "The same items, differently asked: a wide spread says that the score depends on the wording."
    return Section("By instruction", [Table(columns, rows)], text=text)


def _records(sets: Mapping[str, Row]) -> Section:
    rows = [[name, section, score] for name, row in sets.items() for section, score in row.get("sections", {}).items()]
    columns = [Column("Set"), Column("Section"), Column("ROUGE-L", numeric=True)]
    return Section("Records by section", [Table(columns, rows)])


def _strict(row: Row) -> Interval:
    return Interval(row["strict"], row["low"], row["high"])


def _csv(sets: Mapping[str, Row]) -> str:
    return csv_text(CSV_COLUMNS, ([name, *(row.get(key) for key in CSV_COLUMNS[1:])] for name, row in sets.items()))

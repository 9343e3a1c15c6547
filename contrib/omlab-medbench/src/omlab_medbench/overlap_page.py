"""What `omlab medbench overlap` writes: the page, and the table of questions as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omlab_medbench.ngrams import Places
from omlab_medbench.rows import Key
from omlab_report import (
    Column,
    KeyFigure,
    KeyFigures,
    Notes,
    Page,
    Section,
    Table,
    csv_text,
    read_run,
    run_sections,
    write_page,
    write_text,
)

SHOWN = 100
"""Questions on the page; all are in overlap.csv."""
_COLUMNS = ("set", "id", "ngrams", "found", "share", "overlapping")


def write_overlap(
    details: Mapping[str, Any], counts: Mapping[Key, int], found: Places, *, notes: Sequence[str], folder: Path
) -> None:
    """Write `report.html` and `overlap.csv` into `folder`."""
    overlapping = {(name, id) for name, id in details["items"]}
    shares = {key: len(found.get(key, ())) / count if count else None for key, count in counts.items()}
    rows = [
        [*key, count, len(found.get(key, ())), shares[key], int(key in overlapping)] for key, count in counts.items()
    ]
    write_text(csv_text(_COLUMNS, rows), folder / "overlap.csv")
    checked = sum(row["checked"] for row in details["sets"].values())
    figures = [
        KeyFigure("Overlapping questions", len(overlapping), note=f"of {checked} that were looked for"),
        KeyFigure("Canaries", len(details["canaries"]), note="of draws that the corpus holds"),
    ]
    by_set = [[name, row["share"], row["overlapping"], row["checked"]] for name, row in details["sets"].items()]
    set_columns = [
        Column("Set"), Column("Share", numeric=True), Column("Overlapping", numeric=True),
        Column("Questions", numeric=True),
    ]  # fmt: skip
    most = sorted((key for key in counts if found.get(key)), key=lambda key: (-(shares[key] or 0), key))
    columns = [
        Column("Question"), Column("Share", numeric=True, help="of its n-grams"), Column("Found", numeric=True),
        Column("N-grams", numeric=True), Column("Overlapping"),
    ]  # fmt: skip
    table = [
        [" ".join(key), shares[key], len(found[key]), counts[key], "yes" if key in overlapping else "no"]
        for key in most[:SHOWN]
    ]
    text = f"The {SHOWN} that overlap most, of {len(most)}; all are in overlap.csv." if len(most) > SHOWN else ""
    sections = [
        Section("", [KeyFigures(figures)]),
        Section("By set", [Table(set_columns, by_set)]),
        *([Section("Questions with n-grams in the corpus", [Table(columns, table)], text=text)] if most else []),
        Section("Notes", [Notes(notes)]),
        *run_sections(read_run(folder)),
    ]
    write_page(Page("MedBench: overlap with a corpus", sections), folder / "report.html")

"""The tables that runs leave: written as CSV, and read again for the terminal and `--json`."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omlab_report import csv_text, plain_cell, write_text

Row = Mapping[str, Any]

NEIGHBOURS = "neighbours.csv"
OUTLIERS = "outliers.csv"


def _number(text: str) -> float | None:
    return float(text) if text else None


def _flag(text: str) -> bool:
    return text == "yes"


NEIGHBOUR_COLUMNS: dict[str, Callable[[str], Any]] = {
    "query": str,
    "rank": int,
    "neighbour": str,
    "similarity": float,
    "same_file": _flag,
    "file": str,
    "query_file": str,
}
OUTLIER_COLUMNS: dict[str, Callable[[str], Any]] = {
    "rank": int,
    "case": str,
    "knn_distance": float,
    "knn_below": _number,
    "knn_above": int,
    "mahalanobis": _number,
    "mahalanobis_below": _number,
    "mahalanobis_above": int,
    "nearest": str,
    "similarity": float,
    "file": str,
}


def write_rows(rows: Iterable[Row], path: Path, *, columns: Mapping[str, Any]) -> None:
    """Write rows as CSV. Raises `OutputError`."""
    write_text(csv_text(list(columns), [[_cell(row[name]) for name in columns] for row in rows]), path)


def read_rows(path: Path, *, columns: Mapping[str, Callable[[str], Any]]) -> list[dict[str, Any]]:
    """The rows of such a file, with numbers as numbers."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [{name: read(plain_cell(row[name])) for name, read in columns.items()} for row in csv.DictReader(stream)]


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return rounded(value) if isinstance(value, float) else value


def rounded(value: float) -> float | None:
    """Six digits, which is what float32 embeddings bear; None for NaN."""
    return None if math.isnan(value) else float(f"{value:.6g}")


def grouped(rows: Iterable[Row], *, by: str) -> dict[str, Sequence[Row]]:
    """Rows by the value of a column, in their order."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[by], []).append(row)
    return dict(found)

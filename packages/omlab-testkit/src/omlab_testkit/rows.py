"""Rows that benchmarks leave in a CSV file, with the machine that they were measured on."""

from __future__ import annotations

import csv
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

INFO = Path("/proc/cpuinfo")


def processor() -> str:
    """The processor's name, where the system tells it; else its kind."""
    lines = INFO.read_text(encoding="utf-8").splitlines() if INFO.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def machine(*, threads: int) -> dict[str, Any]:
    """What a measurement depends on beside its subject: processor, threads, load, versions, day."""
    return {
        "machine": processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "torch": _version("torch"),
        "date": datetime.now(UTC).date().isoformat(),
        "load": round(os.getloadavg()[0], 1),
    }


def append_rows(path: Path, rows: Sequence[Mapping[str, Any]], *, threads: int) -> None:
    """Append `rows`, each with the machine, and print them. A file that is there keeps its columns.

    Raises `ValueError` for a figure that the file has no column for.
    """
    about = machine(threads=threads)
    columns = _columns(path) or [*rows[0], *(name for name in about if name not in rows[0])]
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if not file.tell():
            writer.writeheader()
        for row in rows:
            writer.writerow({**{name: value for name, value in about.items() if name in columns}, **row})
            sys.stdout.write(" ".join(f"{name}={value}" for name, value in row.items()) + "\n")


def _columns(path: Path) -> list[str]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file), [])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""

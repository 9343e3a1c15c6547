"""What was measured of a cell, case by case, in a file of its own: the log of a large board stays small.

A line a case, `{"id": ..., "rows": [...]}`, compressed; the same results are the same bytes.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omlab.errors import InputError

CaseRows = Mapping[str, Sequence[Mapping[str, Any]]]


def write_rows(rows: CaseRows, path: Path) -> None:
    """Write the rows of a cell's cases; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as stream:
        for id, mine in rows.items():
            line = json.dumps({"id": id, "rows": [dict(row) for row in mine]}, ensure_ascii=False, allow_nan=False)
            stream.write(line.encode() + b"\n")


def read_rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows again. Raises `InputError` where the file is damaged."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            lines = [json.loads(line) for line in stream]
        return {line["id"]: line["rows"] for line in lines}
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}): remove it and start the benchmark again.") from None

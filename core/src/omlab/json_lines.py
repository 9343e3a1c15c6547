"""Reading JSON lines: one object a line, and a sentence that names file and line where one is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omlab.errors import InputError


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers (from 1) and objects of a file; blank lines are passed over.

    Raises `InputError` that names the file, and the line that is not UTF-8, not JSON or no object.
    """
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield number, json_object(line, path=path, number=number)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None


def json_object(line: bytes, *, path: Path, number: int) -> dict[str, Any]:
    """The object in a line. Raises `InputError` that names the file and the line."""
    try:
        row = json.loads(line.decode("utf-8-sig"))  # joined files have a byte order mark in the middle
    except UnicodeDecodeError:
        raise InputError(f"{path}, line {number} is not UTF-8 text.") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}, line {number} is not JSON: {error}.") from None
    if not isinstance(row, dict):
        raise InputError(f"{path}, line {number} is not a JSON object.")
    return row

"""Files that a data set names: how large they are, and which are not there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

SHOWN = 5
"""Of many that are wrong, so many are named."""


def size_of(path: Path) -> int | None:
    """Bytes of a file, or of all files in a folder; None where it is not there."""
    try:
        facts = path.stat()
        if not path.is_dir():
            return facts.st_size
        return sum(child.stat().st_size for child in path.rglob("*") if child.is_file())
    except OSError:
        return None


def missing_files(paths: Sequence[Path]) -> str:
    """A sentence about files that are not there, the first few of them named."""
    if len(paths) == 1:
        return f"the file {paths[0]} is missing."
    return f"{len(paths)} files are missing: {some([str(path) for path in paths])}."


def some(names: Sequence[str]) -> str:
    """The first few names."""
    return f"{', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"

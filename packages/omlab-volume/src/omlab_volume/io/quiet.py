"""Silence for what the libraries below say of odd files: it is not for the user; what matters is checked by us."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from omlab.errors import OmlabError, OutputError

_LIBRARIES = re.compile(r"(pydicom|highdicom|nibabel|zarr|tifffile)(\.|$)")
_PRINTING = logging.getLogger("nibabel.global")  # it has a handler of its own
_UNHEARD = [logging.getLogger(name) for name in ("highdicom", "tifffile")]  # they have none, so that Python prints

_lock = Lock()
_inside = 0


@contextmanager
def quiet() -> Iterator[None]:
    """Without what these libraries warn of or log where nobody listens; all else is heard as before.

    Files are read by several threads at once, so the filter is set by the first that enters and taken away by the last
    that leaves: `warnings.catch_warnings` would bring back what it found, whoever is still inside.
    """
    global _inside
    with _lock:
        _inside += 1
        if _inside == 1:
            warnings.filterwarnings("ignore", module=_LIBRARIES.pattern)
            _PRINTING.disabled = True
            for logger in _UNHEARD:
                if not logger.handlers:
                    logger.addHandler(logging.NullHandler())
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                filters: Any = warnings.filters  # a list; the stubs promise less
                _PRINTING.disabled = False
                filters[:] = [row for row in filters if row[3] != _LIBRARIES]


@contextmanager
def in_a_sentence(path: Path, *, what: str, instead: str) -> Iterator[None]:
    """Makes an `OutputError` of whatever highdicom and pydicom raise: a source may break the standard in many ways.

    Args:
        path: What is written.
        what: The kind of DICOM object.
        instead: What can be written in its place.
    """
    try:
        yield
    except (OmlabError, OSError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise OutputError(f"{path.name} cannot be written as {what}: {reason}; write {instead}.") from error

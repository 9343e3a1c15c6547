"""Silence for what the libraries below say of odd files: it is not for the user; what matters is checked by us."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

_LIBRARIES = r"(tiffslide|tifffile|zarr|imagecodecs|numcodecs|fsspec)(\.|$)"

_lock = Lock()
_inside = 0


@contextmanager
def quiet() -> Iterator[None]:
    """Without what these libraries warn of or log; all else is heard as before.

    Tiles are read by several threads at once, so the filter is set by the first that enters and taken away by the last
    that leaves: `warnings.catch_warnings` would bring back what it found, whoever is still inside.
    """
    global _inside
    with _lock:
        _inside += 1
        if _inside == 1:
            warnings.filterwarnings("ignore", module=_LIBRARIES)
            logger = logging.getLogger("tifffile")
            if not logger.handlers:
                logger.addHandler(logging.NullHandler())  # else Python prints what nobody listens to
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                filters: Any = warnings.filters  # a list; the stubs promise less
                filters[:] = [row for row in filters if getattr(row[3], "pattern", None) != _LIBRARIES]

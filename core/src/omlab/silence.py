"""Silence for what libraries say of odd files: it is not for the user; what matters is checked by whoever reads."""

from __future__ import annotations

import logging
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

_lock = Lock()
_inside: Counter[re.Pattern[str]] = Counter()


@contextmanager
def silent(*libraries: str, unheard: Sequence[str] = (), printing: Sequence[str] = ()) -> Iterator[None]:
    """Without what these libraries warn of, or log where nobody listens; all else is heard as before.

    Files are read by several threads at once, so the filter is set by the first that enters and taken away by the last
    that leaves: `warnings.catch_warnings` would bring back what it found, whoever is still inside.

    Args:
        libraries: Names of top-level modules.
        unheard: Loggers without a handler, for which Python prints what it is told; they are given one that is silent.
        printing: Loggers with a handler of their own; they are off inside.
    """
    modules = re.compile(rf"({'|'.join(libraries)})(\.|$)")
    with _lock:
        _inside[modules] += 1
        if _inside[modules] == 1:
            warnings.filterwarnings("ignore", module=modules.pattern)
            _set_disabled(printing, is_disabled=True)
            for logger in map(logging.getLogger, unheard):
                if not logger.handlers:
                    logger.addHandler(logging.NullHandler())
    try:
        yield
    finally:
        with _lock:
            _inside[modules] -= 1
            if not _inside[modules]:
                filters: Any = warnings.filters  # a list; the stubs promise less
                filters[:] = [row for row in filters if row[3] != modules]
                _set_disabled(printing, is_disabled=False)


def _set_disabled(loggers: Sequence[str], *, is_disabled: bool) -> None:
    for name in loggers:
        logging.getLogger(name).disabled = is_disabled

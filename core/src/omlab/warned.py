"""Warnings of cases that are done in several threads: each finds its own case.

`warnings.catch_warnings` is one for the whole process: under threads a warning lands wherever somebody listens last.
Here the case is a context variable, and one hook, set once for a run, asks for it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from omlab.errors import OmlabWarning

_case: ContextVar[list[str] | None] = ContextVar("omlab_case_warnings", default=None)


@contextmanager
def kept_by_case(*, is_shown: bool = False) -> Iterator[None]:
    """While this is open, an `OmlabWarning` given inside `noted` is kept there, in whatever thread.

    `is_shown`: it is also shown when it comes, as others are: of work that takes long.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("always", OmlabWarning)
        python_way = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
            into = _case.get()
            is_kept = into is not None and issubclass(category, OmlabWarning)
            if not is_kept or is_shown:
                python_way(message, category, *rest, **more)
            if into is not None and is_kept and str(message) not in into:
                into.append(str(message))

        warnings.showwarning = show
        yield


@contextmanager
def noted(into: list[str]) -> Iterator[None]:
    """Keep the warnings of what runs inside, in this thread, in `into`."""
    token = _case.set(into)
    try:
        yield
    finally:
        _case.reset(token)

"""Progress of long work, reported without knowing who watches.

Code that works for long opens a bar; whoever runs it decides how that is shown. The command line
shows bars, or lines in a pipe (`omlab.cli.console`), a library user sees nothing unless she installs a sink.

    with progress.bar("windows", total=len(windows)) as advance:
        for window in windows:
            ...
            advance(1)

Whoever runs it may also end it: `advance` then raises `KeyboardInterrupt`, as if it had come there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from threading import Event
from typing import Protocol


class Advance(Protocol):
    """Says that `steps` more are done; `figures` (such as the loss) are shown beside the bar."""

    def __call__(self, steps: int = 1, /, **figures: float) -> None:
        """Advance the bar."""
        ...


Sink = Callable[[str, int | None], AbstractContextManager[Advance]]


def nothing(steps: int = 1, /, **figures: float) -> None:
    """Show nothing: what a bar advances when nobody watches."""


@contextmanager
def _silent(description: str, total: int | None) -> Iterator[Advance]:
    yield nothing


_sink: ContextVar[Sink] = ContextVar("omlab_progress", default=_silent)


def bar(description: str, *, total: int | None) -> AbstractContextManager[Advance]:
    """Open a bar of `total` steps (None: unknown); the context gives the function that advances it."""
    return _sink.get()(description, total)


@contextmanager
def shown_by(sink: Sink) -> Iterator[None]:
    """Show the bars opened inside this context through `sink`."""
    token = _sink.set(sink)
    try:
        yield
    finally:
        _sink.reset(token)


@contextmanager
def stoppable(stopped: Event) -> Iterator[None]:
    """End what shows a bar in this context at its next step once `stopped` is set: work in a thread of its own."""
    sink = _sink.get()

    @contextmanager
    def watched(description: str, total: int | None) -> Iterator[Advance]:
        with sink(description, total) as advance:

            def step(steps: int = 1, /, **figures: float) -> None:
                if stopped.is_set():
                    raise KeyboardInterrupt
                advance(steps, **figures)

            yield step

    with shown_by(watched):
        yield

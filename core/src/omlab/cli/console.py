"""What the commands show: bars on standard error, results on standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from omlab import progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


def stderr_console() -> Console:
    """The console for messages."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def stdout_console() -> Console:
    """The console for results."""
    from rich.console import Console

    return Console(highlight=False)


@contextmanager
def working() -> Iterator[None]:
    """Show the progress of what runs inside; an interruption ends with its hint and exit status 130."""
    from omlab.jobs.running import Interrupted

    try:
        with _bars():
            yield
    except Interrupted as stop:
        print(f"Interrupted: {stop.hint}", file=sys.stderr)
        raise typer.Exit(130) from None
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        raise typer.Exit(130) from None


@contextmanager
def _bars() -> Iterator[None]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = stderr_console()
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None if console.width < 100 else 40),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )

    @contextmanager
    def sink(description: str, total: int | None) -> Iterator[progress.Advance]:
        yield from _one_bar(bars, description, total)

    with bars, progress.shown_by(sink):
        yield


def _one_bar(bars: Progress, description: str, total: int | None) -> Iterator[progress.Advance]:
    bar = bars.add_task(description, total=total, figures="")

    def advance(steps: int = 1, /, **figures: float) -> None:
        bars.advance(bar, steps)
        if figures:
            bars.update(bar, figures="  ".join(f"{name} {value:.4g}" for name, value in figures.items()))

    try:
        yield advance
    finally:
        bars.remove_task(bar)

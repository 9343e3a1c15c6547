"""What the commands show: bars on standard error, results on standard output."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from omlab import progress
from omlab.errors import OmlabWarning

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
    """Show the progress and warnings of what runs inside; an interruption ends with its hint and status 130."""
    from omlab.jobs.running import Interrupted

    try:
        with _plain_warnings(), _bars():
            yield
    except Interrupted as stop:
        print(f"Interrupted: {stop.hint}", file=sys.stderr)
        raise typer.Exit(130) from None
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        raise typer.Exit(130) from None


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show warnings meant for the user as sentences, without the line of code that gave them."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", OmlabWarning)
        python_way = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
            if issubclass(category, OmlabWarning):
                stderr_console().print(f"Warning: {message}", style="yellow", markup=False, soft_wrap=True)
            else:
                python_way(message, category, *rest, **more)

        warnings.showwarning = show
        yield


@contextmanager
def _bars() -> Iterator[None]:
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = stderr_console()
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None if console.width < 100 else 40),
        TextColumn("{task.fields[count]}"),
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
    whole = f"/{decimal(total)}" if total is not None else ""
    bar = bars.add_task(description, total=total, figures="", count=f"0{whole}")
    done = 0

    def advance(steps: int = 1, /, **figures: float) -> None:
        nonlocal done
        done += steps
        bars.update(bar, advance=steps, count=f"{decimal(done)}{whole}")
        if figures:
            bars.update(bar, figures="  ".join(f"{name} {value:.4g}" for name, value in figures.items()))

    try:
        yield advance
    finally:
        bars.remove_task(bar)


def decimal(count: int) -> str:
    """A count as people read it: bytes come in millions, windows by the dozen."""
    for size, letter in ((10**9, "G"), (10**6, "M")):
        if count >= size:
            return f"{count / size:.1f} {letter}"
    return str(count)

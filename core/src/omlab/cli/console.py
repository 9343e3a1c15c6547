"""What the commands show: bars on standard error, results on standard output."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from omlab import progress
from omlab.errors import OmlabNote, OmlabWarning

QUIET_SECONDS = 10.0
"""Before the first line about some work, where nobody watches a terminal."""
QUIETEST_SECONDS = 300.0
"""Between two lines about it at most."""
ESTIMATED = 3
"""Seconds, and steps, after which it is said how long work will take that takes longer than `WORTH_AN_ESTIMATE`."""
WORTH_AN_ESTIMATE = 60.0
_EACH = {"cases": "a case", "training": "a step", "windows": "a window"}
_COUNTED = 10**6
"""Of so many steps (bytes) none is worth a time of its own."""

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
    """Show the progress and warnings of what runs inside; an interruption ends with its hint and status 130.

    Of several processes that torchrun started only the first shows something.
    """
    from omlab.jobs.running import Interrupted
    from omlab.shards import rank

    is_first = rank() == 0
    try:
        with _plain_warnings() if is_first else _no_warnings(), _bars() if is_first else nullcontext():
            yield
    except KeyboardInterrupt as stop:
        if is_first:
            hint = f": {stop.hint}" if isinstance(stop, Interrupted) else "."
            print(f"Interrupted{hint}", file=sys.stderr)
        raise click.exceptions.Exit(130) from None


@contextmanager
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show warnings and notes meant for the user as sentences, without the line of code that gave them."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", OmlabWarning)
        python_way = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
            if issubclass(category, OmlabNote):
                stderr_console().print(f"Note: {message}", markup=False, soft_wrap=True)
            elif issubclass(category, OmlabWarning):
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
    if not console.is_terminal:
        with progress.shown_by(Lines().bar):
            yield
        return
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None if console.width < 100 else 40),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
        console=console,
        transient=True,
    )

    @contextmanager
    def sink(description: str, total: int | None) -> Iterator[progress.Advance]:
        yield from _one_bar(bars, description, total)

    with bars, progress.shown_by(sink):
        yield


class Lines:
    """For a pipe or a log: a line now and then of work that takes long, with the time that it will take.

    The first line says how long all of it will take, and each step. Further ones come half as often each time, up to
    one in `QUIETEST_SECONDS`, also of work that begins again and again (the windows of case after case): a job of
    days fills no log.
    """

    def __init__(self) -> None:
        self._pauses: dict[str, float] = {}
        self._said: dict[str, float] = {}

    @contextmanager
    def bar(self, description: str, total: int | None) -> Iterator[progress.Advance]:
        """A bar that is lines (`omlab.progress.Sink`)."""
        began = since = time.monotonic()
        done = before = 0
        has_spoken = False
        whole = f"/{decimal(total)}" if total is not None else ""

        def advance(steps: int = 1, /, **figures: float) -> None:
            nonlocal done, has_spoken, since, before
            now = time.monotonic()
            if done == 0 and steps > 1:  # what an earlier start did, or a first batch: it tells no rate
                since, before = now, steps
            done += steps
            needed = None if total is None or done == before else (now - since) * (total - before) / (done - before)
            if not self._is_due(description, now, began=began, steps=done - before, needed=needed):
                return
            has_spoken = True
            if done == total:  # the last line says it, with the time that it took
                return
            parts = [f"{description} {decimal(done)}{whole}"]
            if total and needed and done < total:
                if description not in self._said:
                    parts.append(estimate(needed, steps=total - before, each=_EACH.get(description, "each")))
                parts.append(f"{duration(needed * (total - done) / (total - before))} left")
            shown = "".join(f"  {name} {value:.4g}" for name, value in figures.items())
            print(f"{', '.join(parts)}{shown}", file=sys.stderr, flush=True)
            self._said[description] = now
            self._pauses[description] = min(2 * self._pauses.get(description, QUIET_SECONDS), QUIETEST_SECONDS)

        yield advance
        if has_spoken:
            took = duration(time.monotonic() - began)
            print(f"{description} {decimal(done)}{whole}, {took}", file=sys.stderr, flush=True)

    def _is_due(self, description: str, now: float, *, began: float, steps: int, needed: float | None) -> bool:
        said = self._said.get(description)
        if said is None and min(now - began, steps) >= ESTIMATED and needed and needed > WORTH_AN_ESTIMATE:
            return True
        return now - max(began, said or began) >= self._pauses.get(description, QUIET_SECONDS)


def estimate(seconds: float, *, steps: int, each: str) -> str:
    """How long work will take, and each of its steps: `about 12 min at 0.80 s a case`."""
    rate = f" at {seconds / steps:.2g} s {each}" if steps < _COUNTED else ""
    return f"about {duration(seconds)}{rate}"


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


def duration(seconds: float) -> str:
    """Seconds as people say them: the two largest of days, hours, minutes and seconds."""
    whole, parts = round(seconds), []
    for size, letter in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, whole = divmod(whole, size)
        parts.append((count, letter))
    first = next((number for number, (count, _) in enumerate(parts) if count), len(parts) - 1)
    shown = [f"{count} {letter}" for count, letter in parts[first : first + 2] if count]
    return " ".join(shown) or "0 s"


def decimal(count: int) -> str:
    """A count as people read it: bytes come in millions, windows by the dozen."""
    for size, letter in ((10**9, "G"), (10**6, "M")):
        if count >= size:
            return f"{count / size:.1f} {letter}"
    return str(count)

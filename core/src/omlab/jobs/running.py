"""What the jobs share: telling the observers, letting go when interrupted."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from omlab.errors import OmlabError, OmlabWarning
from omlab.plugins import installed
from omlab.runs import Run


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in a run; `hint` says what is left to go on with."""

    def __init__(self, hint: str) -> None:
        super().__init__(hint)
        self.hint = hint


def stopped(reason: str) -> OmlabError:
    """The error of a run that was started and came to nothing."""
    error = OmlabError(reason)
    error.exit_status = 1
    return error


@contextmanager
def letting_go(run: Run) -> Iterator[None]:
    """Let go of a run that was opened, where what is to be done in it cannot be told."""
    try:
        yield
    except BaseException:
        run.abandon()
        raise


@contextmanager
def at_work(run: Run) -> Iterator[None]:
    """Begin a run, tell the observers, and let go of it when anything stops it."""
    try:
        for name, problem in installed().tell("omlab_run_started", run=run):
            run.note(f"observer {name} failed: {problem}")
        run.begin()
        yield
    except KeyboardInterrupt:
        kept = run.abandon()
        hint = f"{kept} case{'s are' if kept > 1 else ' is'} kept in {run.folder}; " if kept else ""
        raise Interrupted(f"{hint}run the same command again to go on.") from None
    except BaseException:
        run.abandon()
        raise


def finish(run: Run, whole: Callable[[], None] = lambda: None) -> bool:
    """End the run, make what is of all its cases, and tell the observers; False where other shards are at work."""
    is_whole = run.finish(whole)
    if is_whole:
        for name, problem in installed().tell("omlab_run_finished", run=run):
            warnings.warn(f"The observer {name} failed after the run: {problem}.", OmlabWarning, stacklevel=2)
    return is_whole

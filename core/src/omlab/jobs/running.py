"""What the jobs share: telling the observers, letting go when interrupted."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
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
def observed(run: Run) -> Iterator[None]:
    """Tell the observers of the start, and let go of the run when anything stops it."""
    for name, problem in _tell("omlab_run_started", run):
        run.notes.append(f"observer {name} failed: {problem}")
    try:
        yield
    except KeyboardInterrupt:
        done = sum(case.status == "done" for case in run.cases.values())
        kept = run.abandon()
        hint = f"{done} finished cases are kept in {run.folder}; " if kept and done else ""
        raise Interrupted(f"{hint}run the same command again to go on.") from None
    except BaseException:
        run.abandon()
        raise


def finish(run: Run) -> None:
    """Give the run its name and tell the observers."""
    run.finish()
    for name, problem in _tell("omlab_run_finished", run):
        warnings.warn(f"The observer {name} failed after the run: {problem}.", OmlabWarning, stacklevel=2)


def _tell(hook: str, run: Run) -> Iterator[tuple[str, str]]:
    plugins = installed()
    for name in plugins.names():
        function = getattr(plugins.manager.get_plugin(name), hook, None)
        if function is None:
            continue
        try:
            function(run)
        except Exception as error:  # an observer must not stop the run that it observes
            yield name, f"{type(error).__name__}: {error}"

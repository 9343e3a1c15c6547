"""Runs: one folder each, with the results and `run.json`, that has its name only when it is whole.

A run is made in `<name>.partial` and renamed when every case has a status. Started again, it does what
is missing: a case counts as done when its input digest and the digests of its results agree with the
log. `run.json` is rewritten (atomically) after each case, so that a killed run loses one case at most.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from shutil import rmtree
from typing import IO, Any, Literal

from omlab.digests import digest_of, file_digest
from omlab.errors import OmlabError, OmlabWarning, OutputError
from omlab.files import write_json, writing

Status = Literal["done", "failed"]
LOG = "run.json"
SCRATCH = "scratch"


@dataclass(kw_only=True)
class Case:
    """One case of a run: what went in, what came of it. `results` maps file names to their sha256."""

    id: str
    digest: str
    inputs: list[str] = field(default_factory=list)
    status: Status = "failed"
    reason: str = ""
    results: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def holds(self, digest: str, folder: Path) -> bool:
        """Whether this case is done with that input and its results in `folder` are as they were."""
        if self.status != "done" or self.digest != digest:
            return False
        return all(
            (folder / name).is_file() and file_digest(folder / name) == sha for name, sha in self.results.items()
        )


class Run:
    """A run in progress. Open one with `open_run`; add cases with `attempt`; end it with `finish`."""

    def __init__(
        self,
        final: Path,
        *,
        kind: str,
        request: Mapping[str, Any],
        arguments: Mapping[str, Any],
        log: dict[str, Any],
        lock: IO[str],
    ) -> None:
        self.final = final
        self.folder = partial_of(final)
        self.kind = kind
        self.request = dict(request)
        self.arguments = dict(arguments)
        self.cases = logged_cases(log)
        self.notes: list[str] = list(log.get("notes", []))
        self._started = log.get("started") or _now()
        self._lock = lock

    @property
    def scratch(self) -> Path:
        """A folder for checkpoints and the like; removed at the run's end where no case has failed."""
        folder = self.folder / SCRATCH
        folder.mkdir(exist_ok=True)
        return folder

    def is_done(self, id: str, digest: str) -> bool:
        """Whether the log says that this case, with this input, is done and its results are as they were."""
        case = self.cases.get(id)
        return case is not None and case.holds(digest, self.folder)

    def attempt(self, id: str, *, digest: str, inputs: list[Path], work: Callable[[Path], Mapping[str, Any]]) -> Case:
        """Do one case: `work(folder)` writes its results into `folder` and returns values for the log.

        An `OmlabError` makes it a failed case with that reason; any other exception does too, and its
        traceback is kept in the log. Disk full and missing rights (`OutputError`) end the run instead.
        """
        case = Case(id=id, digest=digest, inputs=[str(path) for path in inputs])
        start = time.perf_counter()
        attempt = self.folder / f".{SCRATCH}-{digest_of(id)[:12]}"
        rmtree(attempt, ignore_errors=True)
        with writing("A result", self.final):
            attempt.mkdir()
        try:
            with recorded_warnings(case.warnings):
                case.values = dict(work(attempt))
            self._adopt(case, attempt)
            case.status = "done"
        except OutputError as error:
            error.exit_status = 1
            raise
        except OmlabError as error:
            case.reason = str(error)
        except Exception as error:  # a bug in a plugin fails its case and no other
            case.reason = f"unexpected {type(error).__name__}: {error}"
            case.values = {"traceback": traceback.format_exc()}
        finally:
            rmtree(attempt, ignore_errors=True)
        case.seconds = round(time.perf_counter() - start, 3)
        self.cases[id] = case
        self.save()
        return case

    def save(self) -> None:
        """Write the log."""
        with writing("The run log", self.folder / LOG):
            write_json(self.folder / LOG, self.describe())

    def describe(self) -> dict[str, Any]:
        """The log as JSON."""
        failed = sum(case.status == "failed" for case in self.cases.values())
        return {
            "run": self.kind,
            "started": self._started,
            "written": _now(),
            "status": "failed" if failed and failed == len(self.cases) else "some failed" if failed else "done",
            "request": self.request,
            "arguments": self.arguments,
            "environment": environment(),
            "notes": self.notes,
            "cases": [asdict(case) for case in self.cases.values()],
        }

    def finish(self) -> Path:
        """Give the run its name. Returns the folder."""
        self.save()
        if all(case.status == "done" for case in self.cases.values()):
            rmtree(self.folder / SCRATCH, ignore_errors=True)
        with writing("The run", self.final):
            self.folder.rename(self.final)
        self._lock.close()
        (self.final / ".lock").unlink(missing_ok=True)
        self.folder = self.final
        return self.final

    def abandon(self) -> bool:
        """Let go of an unfinished run; one without any finished case leaves nothing. True: it can go on."""
        worth_keeping = any(case.status == "done" for case in self.cases.values()) or any(
            (self.folder / SCRATCH).glob("*")
        )
        self._lock.close()
        if not worth_keeping:
            rmtree(self.folder, ignore_errors=True)
        return worth_keeping

    def _adopt(self, case: Case, attempt: Path) -> None:
        with writing("A result", self.final):
            for path in sorted(p for p in attempt.rglob("*") if p.is_file()):
                name = path.relative_to(attempt)
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                case.results[str(name)] = file_digest(path)
                path.replace(self.folder / name)


def partial_of(final: Path) -> Path:
    """The temporary name of a run."""
    return final.with_name(final.name + ".partial")


def logged_cases(log: Mapping[str, Any]) -> dict[str, Case]:
    """The cases of a log by id."""
    return {row["id"]: Case(**row) for row in log.get("cases", [])}


def read_log(folder: Path) -> dict[str, Any] | None:
    """The log of a run folder; None where there is none that can be read."""
    return read_log_file(folder / LOG)


def read_log_file(path: Path) -> dict[str, Any] | None:
    """A run log; None where there is none that can be read."""
    try:
        log = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return log if isinstance(log, dict) and "request" in log else None


def open_run(
    final: Path,
    *,
    kind: str,
    request: Mapping[str, Any],
    arguments: Mapping[str, Any],
    digests: Mapping[str, str] | None = None,
) -> Run | None:
    """Begin a run, or go on with an interrupted or incomplete one. None: it is complete already.

    `request` is what makes two runs the same work, `arguments` how the user put it; `digests` are the
    cases to do (id to input digest).
    Raises `OutputError` where the place is taken by something else or by a running process.
    """
    final = final.absolute()
    work = partial_of(final)
    if final.exists():
        before = _own_log(final, kind, request)
        if digests is not None and _all_done(before, digests, final):
            return None
        with writing("The run", final):
            final.rename(work)
    with writing("The run", final):
        work.mkdir(parents=True, exist_ok=True)
        lock = _lock(work)
    log = read_log(work)
    if log is not None and digest_of(log["request"]) != digest_of(dict(request)):
        lock.close()
        raise OutputError(
            f"{work} holds an interrupted run of another request; remove that folder or choose another output."
        )
    run = Run(final, kind=kind, request=request, arguments=arguments, log=log or {}, lock=lock)
    try:
        run.save()
    except OutputError:
        run.abandon()
        raise
    return run


def _own_log(final: Path, kind: str, request: Mapping[str, Any]) -> dict[str, Any]:
    log = read_log(final) if final.is_dir() else None
    if final.is_dir() and not any(final.iterdir()):
        return {"cases": [], "request": dict(request)}
    if log is None:
        raise OutputError(f"{final} exists already and is not a run of omlab; choose another output.")
    if log.get("run") != kind or digest_of(log["request"]) != digest_of(dict(request)):
        raise OutputError(f"{final} holds a run of another request; remove that folder or choose another output.")
    return log


def _all_done(log: Mapping[str, Any], digests: Mapping[str, str], folder: Path) -> bool:
    cases = logged_cases(log)
    return all(id in cases and cases[id].holds(digest, folder) for id, digest in digests.items())


def _lock(work: Path) -> IO[str]:
    stream = (work / ".lock").open("w")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.close()
        raise OutputError(f"Another process is writing {work}; wait for it or choose another output.") from None
    return stream


@contextmanager
def recorded_warnings(into: list[str]) -> Iterator[None]:
    """Collect the `OmlabWarning`s of a case; other warnings go where they always go."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", OmlabWarning)
        try:
            yield
        finally:
            ours = [str(w.message) for w in caught if issubclass(w.category, OmlabWarning)]
            into.extend(dict.fromkeys(ours))
    for other in caught:
        if not issubclass(other.category, OmlabWarning):
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)


def environment() -> dict[str, Any]:
    """Versions that matter for repeating a run."""
    wanted = ("torch", "numpy", "triton", "monai", "transformers", "scipy", "nibabel", "pydicom", "highdicom")
    versions = {d.name.lower(): d.version for d in distributions() if d.name}
    packages = {name: v for name, v in sorted(versions.items()) if name in wanted or name.startswith("omlab")}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "packages": packages,
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

"""Runs: one folder each, with the results, `run.json` (what was asked for) and `cases.jsonl` (what became of it).

A first run is made in `<name>.partial` and renamed when every case has a status; one that is extended stays in its
place and gains lines. Started again, it does what is missing. A line is written before its files get their names, so
that whatever bears a name is in the log: only what omlab wrote is ever replaced or removed.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from shutil import rmtree
from typing import IO, TYPE_CHECKING, Any

from omlab.digests import digest_of, file_digest
from omlab.errors import OmlabError, OutputError, UsageError
from omlab.files import write_json, writing
from omlab.records import CaseLog, Record, mend_tail
from omlab.shards import Shard, rank
from omlab.stamps import Parts, Value, all_agree, stamp
from omlab.warned import noted

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOG = "run.json"
CASES = "cases"
SCRATCH = "scratch"
_OURS = (LOG, f"{CASES}*.jsonl", "records*.bin", ".lock*", ".finished*", SCRATCH, f".{SCRATCH}-*")


class Run:
    """A run. Get one with `open_run`; `begin` it, add cases, and `finish` or `abandon` it."""

    def __init__(
        self,
        final: Path,
        folder: Path,
        *,
        kind: str,
        request: Mapping[str, Any],
        arguments: Mapping[str, Any],
        before: Mapping[str, Any],
        shard: Shard,
        lock: BaseFileLock,
    ) -> None:
        self.final = final
        self.folder = folder
        self.kind = kind
        self.request = dict(request)
        self.arguments = dict(arguments)
        self.shard = shard
        self.notes: list[str] = list(before.get("notes", []))
        self.collected: dict[str, Any] | None = before.get("collected")
        self.log = CaseLog(folder)
        self._before = dict(before)
        self._lock = lock
        self._lines: IO[bytes] | None = None
        self._writing = threading.Lock()
        self._done_here = 0

    @property
    def scratch(self) -> Path:
        """A folder for checkpoints and the like; removed at the run's end where no case has failed."""
        folder = self.folder / SCRATCH
        folder.mkdir(exist_ok=True)
        return folder

    def is_done(self, id: str, parts: Parts) -> bool:
        """Whether the log says that this case, with these inputs, is done and its results are as they were."""
        record = self.log.get(id)
        if record is None or record.status != "done" or not all_agree(record.inputs, parts):
            return False
        return all(_is_there(self.folder, row) for row in record.outputs if "path" in row and row.get("role") == "main")

    def begin(self) -> None:
        """Write `run.json` and open the log. Raises `OutputError`."""
        path = self.folder / f"{CASES}{self.shard.name}.jsonl"
        with writing("The run log", path):
            self._save(finished=None)
            if path.exists():
                mend_tail(path)
            self._lines = path.open("ab")

    def append(self, record: Record) -> None:
        """Add a line to the log. Raises `OutputError`."""
        assert self._lines is not None, "begin() comes first"
        with self._writing, writing("The run log", self.folder):
            self._lines.write(record.to_line())
            self._lines.flush()
            self._done_here += record.status == "done"

    @contextmanager
    def attempt_folder(self, id: str) -> Iterator[Path]:
        """A folder for what one case writes; what was not adopted is gone afterwards."""
        folder = self.folder / f".{SCRATCH}-{digest_of(id)[:16]}"
        if folder.exists():
            rmtree(folder)
        with writing("A result", self.final):
            folder.mkdir()
        try:
            yield folder
        finally:
            rmtree(folder, ignore_errors=True)

    def adopt(self, record: Record, attempt: Path, *, roles: Mapping[str, tuple[str, str]] | None = None) -> None:
        """Log a finished case and give its files their names in the run; files of an earlier attempt go.

        `roles`: role and format of files by name; a file without one is `beside` where others are `main`, else `main`.

        Raises `OutputError` where something that omlab did not write is in the way.
        """
        before = self.log.get(record.id)
        old = {row["path"] for row in before.outputs if "path" in row} if before else set()
        names = sorted(path.relative_to(attempt).as_posix() for path in attempt.rglob("*") if path.is_file())
        for name in names:
            if name not in old and (self.folder / name).exists():
                raise OutputError(
                    f"{self.final / name} exists already and is not of this case; "
                    "move it away or choose another output."
                )
            role, format = (roles or {}).get(name, ("main" if not roles else "beside", ""))
            record.outputs.append(_output(attempt / name, name=name, role=role, format=format))
        record.status = "done"
        self.append(record)
        with writing("A result", self.final):
            for name in names:
                place = self.folder / name
                place.parent.mkdir(parents=True, exist_ok=True)
                (attempt / name).replace(place)
        self._remove(old - set(names))

    def fail(self, record: Record) -> None:
        """Log a case that failed; results of an earlier attempt at it go."""
        record.status = "failed"
        before = self.log.get(record.id)
        self.append(record)
        if before is not None:
            self._remove({row["path"] for row in before.outputs if "path" in row})

    def attempt(
        self,
        id: str,
        *,
        files: Mapping[str, Sequence[Path]],
        work: Callable[[Path], Mapping[str, Any]],
    ) -> Record:
        """Do one case: `work(folder)` writes its results into `folder` and returns values for the log.

        An `OmlabError` makes it a failed case with that reason; any other exception does too, and its
        traceback is kept in the log. Disk full and missing rights (`OutputError`) end the run instead.
        """
        record, start = Record(id=id), time.perf_counter()
        with self.attempt_folder(id) as folder, noted(record.warnings):
            try:
                record.inputs = stamps(files)
                record.values = dict(work(folder))
                record.seconds = round(time.perf_counter() - start, 3)
                self.adopt(record, folder)
            except Exception as error:
                blame(record, error)
                record.seconds = round(time.perf_counter() - start, 3)
                self.fail(record)
        return record

    def finish(self, whole: Callable[[], None] = lambda: None) -> bool:
        """End this process' part; where it was the last one, end the run: `whole` makes what is of all cases.

        Returns:
            Whether the run is whole. False: other shards are still at work, or have yet to begin.
        """
        self._close_log()
        if self.shard.count > 1:
            (self.folder / f".finished{self.shard.name}").touch()
            markers = [
                self.folder / f".finished{Shard(index=n, count=self.shard.count).name}" for n in range(self.shard.count)
            ]
            if not all(marker.exists() for marker in markers):
                self._lock.release()
                return False
        self.conclude(whole)
        return True

    def conclude(self, whole: Callable[[], None] = lambda: None) -> None:
        """End the run with what is there: merge the logs, make what is of all cases, give it its name."""
        self._close_log()
        merging = _lock(self.folder / ".lock-merge", place=self.final)
        try:
            if not self.folder.exists():
                return  # another shard was faster
            self._merge_logs()
            self.log.read()
            whole()
            failed = sum(record.status == "failed" for record in self.log)
            if not failed:
                rmtree(self.folder / SCRATCH, ignore_errors=True)
            with writing("The run log", self.folder / LOG):
                self._save(finished=_now())
        finally:
            merging.release()
            self._lock.release()
        with writing("The run", self.final):
            for leftover in (*self.folder.glob(".lock*"), *self.folder.glob(".finished*")):
                leftover.unlink(missing_ok=True)
            if self.folder != self.final:
                self.folder.rename(self.final)
                self.folder = self.final
        self.log = CaseLog(self.folder)

    def close(self) -> None:
        """Leave the run as it is: nothing was to be done."""
        self._close_log()
        self._lock.release()
        for leftover in self.folder.glob(".lock*"):
            leftover.unlink(missing_ok=True)

    def abandon(self) -> int:
        """Stop in the middle. What is done stays; without anything done, what omlab wrote of a new run goes.

        Returns how many cases are kept.
        """
        self._close_log()
        self._lock.release()
        for leftover in self.folder.glob(f".{SCRATCH}-*"):
            rmtree(leftover, ignore_errors=True)
        kept = len(self.log) + self._done_here
        has_checkpoints = (self.folder / SCRATCH).exists() and any((self.folder / SCRATCH).iterdir())
        if not kept and not has_checkpoints and self.folder != self.final:
            _remove_ours(self.folder)
        return kept

    def _close_log(self) -> None:
        if self._lines is not None:
            self._lines.close()
            self._lines = None

    def _merge_logs(self) -> None:
        """One log of several, ordered by id."""
        parts = sorted(self.folder.glob(f"{CASES}*.jsonl"))
        if parts == [self.folder / f"{CASES}.jsonl"] or not parts:
            return
        merged = self.folder / f"{CASES}.jsonl.partial"
        with writing("The run log", merged), merged.open("wb") as stream:
            stream.writelines(record.to_line() for record in CaseLog(self.folder))
        merged.replace(self.folder / f"{CASES}.jsonl")
        for part in parts:
            if part.name != f"{CASES}.jsonl":
                part.unlink()

    def _remove(self, names: set[str]) -> None:
        for name in names:
            (self.folder / name).unlink(missing_ok=True)

    def _save(self, *, finished: str | None) -> None:
        known = {
            "omlab_run": 2,
            "run": self.kind,
            "request": self.request,
            "arguments": self.arguments,
            "started": self._before.get("started") or _now(),
            "finished": finished,
            "environment": environment(),
            "notes": self.notes,
            "collected": self.collected,
        }
        self._before = {**self._before, **known}
        write_json(self.folder / LOG, self._before)


def open_run(
    final: Path,
    *,
    kind: str,
    request: Mapping[str, Any],
    arguments: Mapping[str, Any],
    shard: Shard | None = None,
) -> Run:
    """A run that is new, interrupted, or there already and perhaps to be extended.

    `request` is what makes two runs the same work, `arguments` how the user put it.
    Raises `OutputError` where the place is taken by something else or by a running process, `UsageError` in a process
    that torchrun started beside the first.
    """
    if rank() > 0:
        raise UsageError("Only adapt is started with torchrun: start others once for each part, with OMLAB_SHARD=0/2.")
    final, shard = final.absolute(), shard or Shard()
    if final.parent == final:
        raise OutputError(f"{final} cannot be the folder of a run; choose another output.")
    folder = final if final.exists() else partial_of(final)
    before = _own_log(folder, kind, request)
    with writing("The run", final):
        folder.mkdir(parents=True, exist_ok=True)
        lock = _lock(folder / f".lock{shard.name}", place=folder)
    try:
        return Run(
            final, folder, kind=kind, request=request, arguments=arguments, before=before, shard=shard, lock=lock
        )
    except BaseException:
        lock.release()
        raise


def partial_of(final: Path) -> Path:
    """Where a run is made until it is whole."""
    return final.with_name(f"{final.name}.partial")


def read_log(folder: Path) -> dict[str, Any] | None:
    """`run.json` of a folder; None where there is none that can be read."""
    return read_log_file(folder / LOG)


def read_log_file(path: Path) -> dict[str, Any] | None:
    """A run's description; None where there is none that can be read."""
    try:
        log = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return log if isinstance(log, dict) and isinstance(log.get("request"), dict) else None


def same_request(log: Mapping[str, Any], kind: str, request: Mapping[str, Any]) -> bool:
    """Whether a run's description is of the same work."""
    return log.get("run") == kind and digest_of(log["request"]) == digest_of(dict(request))


def _own_log(folder: Path, kind: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """The description of a run that may be gone on with; empty where there is none yet. Raises `OutputError`."""
    if not folder.exists():
        return {}
    log = read_log(folder) if folder.is_dir() else None
    if log is None:
        if folder.is_dir() and all(child.name.startswith(".lock") for child in folder.iterdir()):
            return {}
        raise OutputError(f"{folder} exists already and is not a run of omlab; choose another output.")
    if not same_request(log, kind, request):
        state = "an interrupted run" if log.get("finished") is None else "a run"
        raise OutputError(f"{folder} holds {state} of another request; remove that folder or choose another output.")
    return log


def _lock(path: Path, *, place: Path) -> BaseFileLock:
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise OutputError(f"Another process is writing {place}; wait for it or choose another output.") from None
    return lock


def _remove_ours(folder: Path) -> None:
    """Take away what a run wrote, and the folder where nothing else is in it."""
    for pattern in _OURS:
        for path in folder.glob(pattern):
            if path.is_dir():
                rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    if folder.exists() and not any(folder.iterdir()):
        folder.rmdir()


def blame(record: Record, error: Exception) -> None:
    """Say in a record why its case failed; an `OutputError` is raised again, as it ends the run."""
    if isinstance(error, OutputError):
        error.exit_status = 1
        raise error
    cause = error.__cause__ if isinstance(error, OmlabError) else error
    record.reason = str(error) if isinstance(error, OmlabError) else f"unexpected {type(error).__name__}: {error}"
    if cause is not None and not isinstance(cause, OmlabError | OSError):
        record.values = {"traceback": "".join(traceback.format_exception(cause))}


def stamps(parts: Parts, *, sampled: Sequence[str] = ()) -> dict[str, list[dict[str, Any]]]:
    """What a case is made of as its record has it."""
    return {
        name: [
            (part if isinstance(part, Value) else stamp(part, digest=True, sampled=name in sampled)).to_json()
            for part in found
        ]
        for name, found in parts.items()
    }


def _output(path: Path, *, name: str, role: str, format: str) -> dict[str, Any]:
    facts = path.stat()
    row = {
        "path": name,
        "role": role,
        "size": facts.st_size,
        "mtime_ns": facts.st_mtime_ns,
        "sha256": file_digest(path),
    }
    return row | ({"format": format} if format else {})


def _is_there(folder: Path, row: Mapping[str, Any]) -> bool:
    path = folder / row["path"]
    try:
        facts = path.stat()
    except OSError:
        return False
    if facts.st_size != row.get("size"):
        return False
    return facts.st_mtime_ns == row.get("mtime_ns") or file_digest(path) == row.get("sha256")


@cache
def environment() -> dict[str, Any]:
    """Versions that matter for repeating a run; looked up once a process."""
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

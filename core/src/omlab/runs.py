"""Runs: one folder each, with the results, `run.json` (what was asked for) and `cases.jsonl` (what became of it).

A first run is made in `<name>.partial` and renamed when every case has a status; one that is extended stays in its
place and gains lines. Started again, it does what is missing. A line is written before its files get their names, so
that whatever bears a name is in the log: only what omlab wrote is ever replaced or removed.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from typing import IO, TYPE_CHECKING, Any, TypeVar

from omlab.digests import file_digest
from omlab.errors import InputError, OmlabError, OutputError, UsageError, where
from omlab.files import remove, write_json, writing
from omlab.records import CaseLog, Record, Role, mend_tail
from omlab.run_folder import (
    ATTEMPT,
    CASES,
    FINISHED,
    LOCK,
    LOG,
    SCRATCH,
    acquired,
    clear_marks,
    description_of,
    empty,
    lock_for,
    make_folder,
    partial_of,
    read_log,
    remove_begun,
)
from omlab.shards import Shard, rank
from omlab.stamps import Parts, Value, agrees, all_agree, parts_of, stamp
from omlab.versions import environment
from omlab.warned import noted

if TYPE_CHECKING:
    from filelock import BaseFileLock

    from omlab.roles import Case

C = TypeVar("C", bound="Case")


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
        self._is_new = not before
        self._is_whole = folder == final and before.get("finished") is not None
        self._lock = lock
        self._lines: IO[bytes] | None = None
        self._writing = threading.Lock()
        self._attempting = threading.Lock()
        self._has_attempt = False

    @property
    def scratch(self) -> Path:
        """A folder for checkpoints and the like; removed at the run's end where no case has failed."""
        folder = self.folder / SCRATCH
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def is_whole(self) -> bool:
        """Whether it was brought to its end before, and has its name."""
        return self._is_whole

    def note(self, sentence: str) -> None:
        """Keep a sentence in `run.json`, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def missing(self, cases: Sequence[C]) -> list[C]:
        """The cases of this part of the run that are not done. Raises `InputError` where two have the same id."""
        return self.undone([case for case in cases if self.shard.holds(case.id)])

    def undone(self, cases: Sequence[C]) -> list[C]:
        """The cases that are not done, whatever part they are in. Raises `InputError` where two have the same id."""
        ids: set[str] = set()
        for case in cases:
            if case.id in ids:
                raise InputError(f"Two cases have the id '{case.id}', under which there can be one result; rename one.")
            ids.add(case.id)
        with self.log.opened():
            return [case for case in cases if not self.is_done(case.id, parts_of(case))]

    def is_done(self, id: str, parts: Parts) -> bool:
        """Whether the log says that this case, with these inputs, is done and its results are as they were."""
        record = self.log.get(id)
        if record is None or record.status != "done" or not all_agree(record, parts):
            return False
        return all(agrees(row, self.folder / row["path"]) for row in record.outputs if _is_main_file(row))

    def begin(self) -> None:
        """Write `run.json` and open the log. Raises `OutputError`."""
        path = self.folder / f"{CASES}{self.shard.name}.jsonl"
        with writing("The run log", path):
            self._marker(self.shard).unlink(missing_ok=True)
            self._save(finished=None)
            if path.exists():
                mend_tail(path)
            self._lines = path.open("ab")

    def append(self, record: Record) -> None:
        """Add a line to the log. Raises `OutputError`."""
        assert self._lines is not None, "begin() comes first"
        record.at = round(time.time(), 3)
        with self._writing, writing("The run log", self.folder):
            self._lines.write(record.to_line())
            self._lines.flush()

    @contextmanager
    def attempt_folder(self) -> Iterator[Path]:
        """The folder for what one case writes; what was not adopted is gone afterwards. One case after the other.

        It is the same one each time: making and removing a folder takes longer than all else that a case costs.
        """
        with self._attempting:
            folder = self.folder / f"{ATTEMPT}{self.shard.name}"
            if not self._has_attempt:
                with writing("A result", self.final):
                    rmtree(folder, ignore_errors=True)  # of a process that was killed
                    folder.mkdir()
                    self._has_attempt = True
            try:
                yield folder
            finally:
                empty(folder)

    def adopt(self, record: Record, attempt: Path, *, roles: Mapping[str, Role] | None = None) -> None:
        """Log a finished case and give its files their names in the run; files of an earlier attempt go.

        `roles`: of files by name; a file without one is `beside` where others are `main`, else `main`.

        Raises `OutputError` where something that omlab did not write is in the way.
        """
        before = self.log.get(record.id)
        old = before.paths() if before else set()
        names = _outputs_in(attempt, roles or {})
        for name in names:
            if name not in old and os.path.lexists(self.folder / name):
                raise OutputError(
                    f"{self.final / name} exists already and is not of this case; "
                    "move it away or choose another output."
                )
            role = (roles or {}).get(name, Role("main" if not roles else "beside"))
            record.outputs.append(_output(attempt / name, name=name, role=role))
        record.status = "done"
        with writing("A result", self.final):
            folders = {name for name in names if (attempt / name).is_dir()}  # no folder takes the place of another
            self._remove(old - set(names) | old & folders)  # before the line that no longer tells of them
            self.append(record)
            for name in names:
                place = self.folder / name
                if "/" in name:
                    place.parent.mkdir(parents=True, exist_ok=True)
                (attempt / name).replace(place)

    def fail(self, record: Record) -> None:
        """Log a case that failed; results of an earlier attempt at it go."""
        record.status = "failed"
        before = self.log.get(record.id)
        if before is not None:
            self._remove(before.paths())
        self.append(record)

    def attempt(
        self,
        id: str,
        *,
        files: Parts,
        work: Callable[[Path], Mapping[str, Any]],
        role: Callable[[str], Role] | None = None,
        sampled: Sequence[str] = (),
    ) -> Record:
        """Do one case: `work(folder)` writes its results into `folder` and returns values for the log.

        `role` says what a file that it wrote is, by its name; without it all are main outputs. `sampled` names the
        files that are told by their size and sampled blocks.

        An `OmlabError` makes it a failed case with that reason; any other exception does too, and its
        traceback is kept in the log. Disk full and missing rights (`OutputError`) end the run instead.
        """
        record, start = Record(id=id), time.perf_counter()
        with self.attempt_folder() as folder, noted(record.warnings):
            try:
                record.inputs = stamps(files, sampled=sampled)
                record.values = dict(work(folder))
                record.seconds = round(time.perf_counter() - start, 3)
                roles = None if role is None else {path.name: role(path.name) for path in folder.iterdir()}
                self.adopt(record, folder, roles=roles)
            except Exception as error:
                blame(record, error)
                record.seconds = round(time.perf_counter() - start, 3)
                self.fail(record)
        return record

    def finish(self, whole: Callable[[], None] = lambda: None) -> bool:
        """End this process' part; where it was the last one, end the run: `whole` makes what is of all cases.

        Returns:
            Whether the run is whole. False: other shards are still at work, or have yet to begin, or end it just now.
        """
        self._stop()
        if self.shard.count > 1:
            self._marker(self.shard).touch()
            self._lock.release()
            if not self._all_finished() or not self._take_over():
                self.log = CaseLog(self.folder if self.folder.is_dir() else self.final)
                return False
        self.conclude(whole)
        return True

    def conclude(self, whole: Callable[[], None] = lambda: None) -> None:
        """End the run with what is there: merge the logs, make what is of all cases, give it its name."""
        self._stop()
        try:
            self._merge_logs()
            self.log.read()
            whole()
            if not any(record.status == "failed" for record in self.log):
                rmtree(self.folder / SCRATCH, ignore_errors=True)
            for leftover in self.folder.glob(f"{ATTEMPT}*"):  # of parts that were killed
                rmtree(leftover, ignore_errors=True)
            with writing("The run log", self.folder / LOG):
                self._save(finished=_now())
            clear_marks(self.folder)
        finally:
            self._lock.release()
        if self.folder != self.final:
            with writing("The run", self.final):
                self.folder.rename(self.final)
            self.folder = self.final
        self.log = CaseLog(self.folder)

    def close(self) -> None:
        """Leave the run as it is: nothing was to be done."""
        self._stop()
        self._release()

    def abandon(self) -> int:
        """Stop in the middle. What is done stays; without anything done, what omlab wrote of a new run goes.

        Returns how many cases are done.
        """
        self._stop()
        self.log.read()
        kept = sum(record.status == "done" for record in self.log)
        has_checkpoints = (self.folder / SCRATCH).exists() and any((self.folder / SCRATCH).iterdir())
        if self._is_new and not kept and not has_checkpoints and self.shard.count == 1:
            remove_begun(self.folder, is_named=self.folder == self.final)
        self._release()
        return kept

    def _release(self) -> None:
        """Let others have this part; the lock's file goes first, while nobody else can hold it."""
        with suppress(OSError):
            (self.folder / f"{LOCK}{self.shard.name}").unlink(missing_ok=True)
        self._lock.release()

    def _marker(self, shard: Shard) -> Path:
        return self.folder / f"{FINISHED}{shard.name}"

    def _all_finished(self) -> bool:
        count = self.shard.count
        return all(self._marker(Shard(index=n, count=count)).exists() for n in range(count))

    def _take_over(self) -> bool:
        """Become the one that ends a run of several parts; False where another one does, or did."""
        if not self.folder.is_dir():
            return False
        lock = acquired(self.folder / LOCK)
        if lock is None:
            return False
        if not self._all_finished():  # another part was quicker, and may have given the folder its name
            lock.release()
            with suppress(OSError):
                (self.folder / LOCK).unlink(missing_ok=True)
                self.folder.rmdir()
            return False
        self._lock = lock
        return True

    def _stop(self) -> None:
        """Write no more."""
        if self._lines is not None:
            self._lines.close()
            self._lines = None
        if self._has_attempt:
            rmtree(self.folder / f"{ATTEMPT}{self.shard.name}", ignore_errors=True)
            self._has_attempt = False

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
            remove(self.folder / name)

    def _save(self, *, finished: str | None) -> None:
        """Write `run.json`; what others wrote there meanwhile, other parts or a later omlab, is kept."""
        there = read_log(self.folder) or {}
        self.notes = list(dict.fromkeys([*there.get("notes", []), *self.notes]))
        known = {
            "omlab_run": 2,
            "run": self.kind,
            "request": self.request,
            "arguments": self.arguments,
            "started": there.get("started") or _now(),
            "finished": finished,
            "environment": environment(),
            "notes": self.notes,
            "collected": self.collected,
        }
        write_json(self.folder / LOG, {**there, **known})


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
    folder = final if os.path.lexists(final) else partial_of(final)
    description_of(folder, kind, request, is_named=folder == final)
    with writing("The run", final):
        make_folder(folder)
        lock = lock_for(folder, shard)
    try:
        before = description_of(folder, kind, request, is_named=folder == final)  # as it is now that it is ours
        return Run(
            final, folder, kind=kind, request=request, arguments=arguments, before=before, shard=shard, lock=lock
        )
    except BaseException:
        lock.release()
        raise


def blame(record: Record, error: Exception) -> None:
    """Say in a record why its case failed; an `OutputError` is raised again, as it ends the run."""
    if isinstance(error, OutputError):
        error.exit_status = 1
        raise error
    cause = error.__cause__ if isinstance(error, OmlabError) else error
    said = str(error) if isinstance(error, OmlabError) else f"unexpected {type(error).__name__}: {error}{where(error)}"
    record.reason = said
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


def _outputs_in(attempt: Path, roles: Mapping[str, Role]) -> list[str]:
    """The files that a case left, by name; a folder that has a role is one of them, whatever it holds."""
    folders = [attempt / name for name in roles if (attempt / name).is_dir()]
    inside = {path for folder in folders for path in folder.rglob("*")} if folders else set()
    files = [path for path in attempt.rglob("*") if path.is_file() and path not in inside]
    return sorted(path.relative_to(attempt).as_posix() for path in (*files, *folders))


def _output(path: Path, *, name: str, role: Role) -> dict[str, Any]:
    if path.is_dir():
        known = stamp(path, digest=True, sampled=True).to_json()
        del known["path"]
        return {"path": name, **{field: value for field, value in role._asdict().items() if value}, **known}
    facts = path.stat()
    row = {"size": facts.st_size, "mtime_ns": facts.st_mtime_ns, "sha256": file_digest(path)}
    return {"path": name, **{field: value for field, value in role._asdict().items() if value}, **row}


def _is_main_file(row: Mapping[str, Any]) -> bool:
    return row.get("role") == "main" and "path" in row


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

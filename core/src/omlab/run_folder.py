"""The folder of a run: whose it is, who works in it, and what of it may be removed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

from omlab.digests import digest_of
from omlab.errors import OutputError
from omlab.shards import Shard

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOG = "run.json"
CASES = "cases"
SCRATCH = "scratch"
ATTEMPT = ".attempt"
LOCK = ".lock"
FINISHED = ".finished"
_TOUCH = 1.0
"""Seconds, by far more than a lock is held by a process that only tries it."""
_BEGUN = (LOCK, FINISHED, ".omlab-")
"""How the names begin of what stands in a folder before its `run.json` does."""
_OF_THE_SYSTEM = ("lost+found",)
"""What an empty disk has in it where it is mounted."""


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


def description_of(folder: Path, kind: str, request: Mapping[str, Any], *, is_named: bool) -> dict[str, Any]:
    """The description of a run that may be gone on with; empty where nothing has begun there yet.

    `is_named`: the user named this very folder, so that it may be an empty one.

    Raises `OutputError` where the place is taken: by a file, by somebody's folder, by a run of another request.
    """
    if not os.path.lexists(folder):
        return {}
    log = read_log(folder) if folder.is_dir() else None
    if log is None:
        if folder.is_dir() and _has_only_begun(folder, is_named=is_named):
            return {}
        raise OutputError(f"{folder} exists already and is not a run of omlab; choose another output.")
    if not same_request(log, kind, request):
        state = "an interrupted run" if log.get("finished") is None else "a run"
        raise OutputError(f"{folder} holds {state} of another request; remove that folder or choose another output.")
    return log


def _has_only_begun(folder: Path, *, is_named: bool) -> bool:
    """Whether a folder without `run.json` is one where a run has just begun.

    An empty `x.partial` is somebody else's: omlab makes its own with a lock inside.
    """
    names = [child.name for child in folder.iterdir() if child.name not in _OF_THE_SYSTEM]
    return (is_named or bool(names)) and all(name.startswith(_BEGUN) for name in names)


def make_folder(folder: Path) -> None:
    """Make the folder of a run, with a lock inside from its first moment; another process may be as quick."""
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = folder.with_name(f".omlab-{os.getpid()}-{folder.name}")
    made.mkdir(exist_ok=True)
    (made / LOCK).touch()
    try:
        made.rename(folder)
    except OSError:
        rmtree(made, ignore_errors=True)
        if not folder.is_dir():
            raise


def lock_for(folder: Path, shard: Shard) -> BaseFileLock:
    """The lock of one part of a run. Raises `OutputError` where another process does it, or parts it otherwise."""
    lock = acquired(folder / f"{LOCK}{shard.name}")
    if lock is None:
        raise OutputError(f"Another process is writing {folder}; wait for it or choose another output.")
    mine = {f"{LOCK}{Shard(index=n, count=shard.count).name}" for n in range(shard.count)}
    for path in folder.glob(f"{LOCK}*"):
        if path.name in mine:
            continue
        other = acquired(path)
        if other is None:
            lock.release()
            parts = "shards are" if shard.count == 1 else "a process that parts it otherwise is"
            raise OutputError(f"Another process is writing {folder}: {parts} at work on it; wait for them.")
        other.release()
    return lock


def acquired(path: Path) -> BaseFileLock | None:
    """A lock, held; None where another process holds it for its work.

    Parts that start or end together try each other's locks, and let go at once: such a touch is waited for.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=_TOUCH, poll_interval=0.02)
    except Timeout:
        return None
    return lock


def clear_marks(folder: Path) -> None:
    """Remove what parts of a run leave for each other."""
    for pattern in (f"{LOCK}*", f"{FINISHED}*"):
        for path in folder.glob(pattern):
            with suppress(OSError):  # a system that keeps open files keeps the lock, which does no harm
                path.unlink()


def empty(folder: Path) -> None:
    """Remove what is in a folder."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                rmtree(entry.path, ignore_errors=True)
            else:
                with suppress(OSError):
                    Path(entry.path).unlink()


def remove_begun(folder: Path, *, is_named: bool) -> None:
    """Take away a run in which nothing was done; where there is anything else in its folder, nothing goes.

    `is_named`: the user made the folder for it, which stays, empty.
    """
    ours = [folder / LOG, folder / f"{CASES}.jsonl", folder / "records.bin", folder / SCRATCH]
    marks = [*folder.glob(f"{LOCK}*"), *folder.glob(f"{FINISHED}*")]
    if set(folder.iterdir()) - {*ours, *marks, *(folder / name for name in _OF_THE_SYSTEM)}:
        return
    for path in (*ours, *marks):
        if path.is_dir():
            rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    if not is_named:
        folder.rmdir()

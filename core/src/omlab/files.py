"""Writing files so that nothing partial is ever seen under a final name."""

from __future__ import annotations

import errno
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any

from omlab.errors import OutputError


@contextmanager
def writing(what: str, path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write `path` into one sentence (`OutputError`)."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = "the disk is full; free some space and run the same command again"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            reason = "there is no right to write there; choose another place"
        elif error.errno == errno.ENOTDIR or isinstance(error, FileExistsError):
            reason = "a file stands where a folder is needed; choose another place"
        else:
            reason = f"{error.strerror or error}"
        raise OutputError(f"{what} cannot be written to {path}: {reason}.") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path of the same name in a folder beside `path`, put in its place when all went well.

    A file takes the place of a file in one step. A folder takes that of a folder in two, between which there is none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".omlab-", dir=path.parent))
    try:
        temporary = folder / path.name
        yield temporary
        if temporary.is_file():
            temporary.chmod(_usual_mode(folder / f"{path.name}.mode"))  # some libraries make their files private
            sync(temporary)
        if temporary.is_dir() and path.is_dir():
            _swap(temporary, path, folder / "replaced")
        else:
            temporary.replace(path)
    finally:
        rmtree(folder, ignore_errors=True)


def _swap(made: Path, path: Path, place: Path) -> None:
    """Put a folder where one with something in it is, which goes to `place`, and back where that fails."""
    path.rename(place)
    try:
        made.rename(path)
    except BaseException:
        place.rename(path)
        raise


def _usual_mode(probe: Path) -> int:
    """The mode that a file has which is made plainly: asking for the umask sets it, for all threads, for a moment."""
    descriptor = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have the file on the disk before its name says that it is whole."""
    # Windows only flushes what may be written, POSIX does not let a folder be opened for that
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, default=str) + "\n", encoding="utf-8")

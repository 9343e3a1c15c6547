"""Small steps of keeping large files: final names, room on the disk."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omlab.errors import DownloadError, WeightsError
from omlab.files import sync

_SPARE = 64 << 20
"""Bytes that a download leaves free: a disk filled to the last byte breaks other programs."""


def check_regular(path: Path) -> None:
    """Raise `WeightsError` where `path` is not a file that can be read through: a pipe would never end."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise WeightsError(f"There is no weights file {path}.") from error
    except (OSError, ValueError) as error:  # ValueError: a name with a null in it
        raise WeightsError(f"The weights file {path} cannot be read: {getattr(error, 'strerror', error)}.") from error
    if stat.S_ISDIR(mode):
        raise WeightsError(f"{path} is a folder; name the weights file inside it.")
    if not stat.S_ISREG(mode):
        kinds = ((stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
        kind = next((word for is_one, word in kinds if is_one(mode)), "a device")
        raise WeightsError(f"{path} is {kind}; weights are read from a file.")


def check_name(name: str) -> None:
    """Raise `WeightsError` where `name` cannot be that of one file in any folder of any system."""
    forbidden = set('<>:"/\\|?*')
    if not name or name != name.rstrip(" .") or any(c in forbidden or not c.isprintable() for c in name):
        raise WeightsError(f"{name!r} is no name that a weights file can have.")


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Only one process at a time works on `folder` of the cache; the others wait for it. The folder is made."""
    from filelock import FileLock

    held = FileLock(folder.with_name(folder.name + ".lock"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held.acquire()
    except (OSError, NotImplementedError) as error:
        raise not_writable(folder, error) from error
    try:
        folder.mkdir(parents=True, exist_ok=True)  # whoever held the lock may have removed it
        yield
    finally:
        held.release()


def not_writable(folder: Path, error: Exception) -> DownloadError:
    """What is said of a cache that cannot be written."""
    return DownloadError(
        f"The weights cache {folder} cannot be written ({getattr(error, 'strerror', None) or error}): set OMLAB_CACHE "
        "to a folder of yours, or name a local file with --weights FILE."
    )


def write_json(path: Path, value: Any) -> None:
    """Write a record of the cache, whole or not at all. Raises `DownloadError`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
        replace(temporary, path)
    except OSError as error:
        raise not_writable(path.parent, error) from error


def replace(temporary: Path, path: Path) -> None:
    """Give `temporary` its final name, for good: whoever sees the name sees the whole file."""
    sync(temporary)
    temporary.replace(path)
    if os.name == "posix":
        sync(path.parent)


def replace_folder(content: Path, folder: Path) -> None:
    """Put the folder `content` in the place of `folder`, for good: whoever sees the name sees all of it."""
    for path in content.rglob("*"):
        if path.is_file():
            sync(path)
    if folder.exists():
        shutil.rmtree(folder)
    content.replace(folder)
    if os.name == "posix":
        sync(folder.parent)


def check_room(folder: Path, wanted: int, *, name: str) -> None:
    """Raise `DownloadError` where `folder` has no room for `wanted` more bytes."""
    free = shutil.disk_usage(folder).free
    if free < wanted + _SPARE:
        raise DownloadError(
            f"'{name}' needs {megabytes(wanted)} in {folder}, where {megabytes(free)} are free: make room, "
            "or set OMLAB_CACHE to a folder on another disk."
        )


def megabytes(size: int) -> str:
    """A size as people read it."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"

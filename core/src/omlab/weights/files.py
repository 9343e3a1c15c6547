"""Small steps of keeping large files: final names, room on the disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from omlab.errors import DownloadError
from omlab.files import sync

_SPARE = 64 << 20
"""Bytes that a download leaves free: a disk filled to the last byte breaks other programs."""


def replace(temporary: Path, path: Path) -> None:
    """Give `temporary` its final name, for good: whoever sees the name sees the whole file."""
    sync(temporary)
    temporary.replace(path)
    if os.name == "posix":
        sync(path.parent)


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

"""Files at the edges: looked at before a library opens them, and written so that nothing partial stays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omlab.errors import InputError
from omlab.files import writing


def check_file(path: Path) -> int:
    """The size in bytes of the file at `path`. Raises `InputError` where it cannot be read or is empty."""
    if path.is_dir():
        raise InputError(f"{path} is a folder, but one file is expected here: name the file.")
    if not path.exists():
        raise InputError(f"{path} does not exist: check the path.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} may not be read by this user: change its access rights.")
    size = path.stat().st_size
    if size == 0:
        raise InputError(f"{path} is empty (0 bytes): copy or export it again.")
    return size


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Around the writing of `path`: a failure leaves no partial file; the system's become `OutputError`."""
    try:
        with writing(path.name, path.parent):
            yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise

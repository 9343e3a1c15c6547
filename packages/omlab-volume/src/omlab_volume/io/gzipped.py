"""Files compressed with gzip, through python-isal: a fraction of zlib's time, a few percent larger.

The bytes inside are the same, and the sums at the end of a file are checked.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, BinaryIO

from isal import igzip, isal_zlib  # its functions and errors are typed in part

_igzip: Any = igzip
_isal_zlib: Any = isal_zlib
_LEVEL = 2  # above it the time rises and the size does not fall

_isal_error: type[Exception] = _isal_zlib.error
UNREADABLE: tuple[type[Exception], ...] = (EOFError, OSError, zlib.error, _isal_error)
"""What reading a damaged file raises, besides `gzip.BadGzipFile` (an `OSError`)."""


def read_gzip(path: Path) -> BinaryIO:
    """The bytes inside `path`. Reading raises one of `UNREADABLE` where it is damaged, at the latest at its end."""
    stream: Any = _igzip.open(path, "rb")
    return stream  # type: ignore[no-any-return]


def write_gzip(file: BinaryIO) -> BinaryIO:
    """Compresses what is written to it into `file`; no name and no time, so that the same bytes give the same file."""
    stream: Any = _igzip.IGzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=file, mtime=0)
    return stream  # type: ignore[no-any-return]

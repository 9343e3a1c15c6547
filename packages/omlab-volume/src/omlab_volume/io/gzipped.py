"""Files compressed with gzip, through python-isal where it is installed (an extra: `omlab-volume[fast]`), else zlib.

Both give the same bytes back and check the sums at the end of the file; ISA-L takes a fraction of zlib's time to write
and to read, at a few percent of the size.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any, BinaryIO

_ZLIB_LEVEL = 1
_ISAL_LEVEL = 2  # above it the time rises and the size does not fall

_isal: Any = None
try:
    import isal.igzip
    import isal.isal_zlib
except ModuleNotFoundError:
    pass
else:
    _isal = isal

UNREADABLE: tuple[type[Exception], ...] = (EOFError, OSError, zlib.error)
"""What reading a damaged file raises, besides `gzip.BadGzipFile` (an `OSError`)."""
if _isal is not None:
    UNREADABLE = (*UNREADABLE, _isal.isal_zlib.error)


def read_gzip(path: Path) -> BinaryIO:
    """The bytes inside `path`. Reading raises one of `UNREADABLE` where it is damaged, at the latest at its end."""
    stream: Any = (gzip if _isal is None else _isal.igzip).open(path, "rb")
    return stream  # type: ignore[no-any-return]


def write_gzip(file: BinaryIO) -> BinaryIO:
    """Compresses what is written to it into `file`; no name and no time, so that the same bytes give the same file."""
    kind, level = (gzip.GzipFile, _ZLIB_LEVEL) if _isal is None else (_isal.igzip.IGzipFile, _ISAL_LEVEL)
    stream: Any = kind(filename="", mode="wb", compresslevel=level, fileobj=file, mtime=0)
    return stream  # type: ignore[no-any-return]

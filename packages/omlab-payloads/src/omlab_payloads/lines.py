"""Files of one entry a line (or a few): where each entry begins, so that one is read without the others.

The places are kept by path, size and time of change: reading 100,000 entries by key goes through the file once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from omlab.errors import InputError

Find = Callable[[Path], Iterable[tuple[str, int]]]
"""The keys of a file's entries, each with the byte that it begins at."""


class Stamp(NamedTuple):
    """A file as it is now."""

    path: Path
    size: int
    mtime_ns: int


def stamp_of(path: Path) -> Stamp:
    """The file as it is now. Raises `InputError` where there is none."""
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    return Stamp(path, found.st_size, found.st_mtime_ns)


def places(path: Path, find: Find) -> Mapping[str, int]:
    """Where each entry begins, by key in the file's order. Raises `InputError` for a file in which a key is twice."""
    return _places(stamp_of(path), find)


@lru_cache(maxsize=8)
def _places(stamp: Stamp, find: Find) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for key, offset in find(stamp.path):
        if key in found:
            raise InputError(f"{stamp.path} has two entries with the id '{key}'.")
        found[key] = offset
    return found


def place_of(path: Path, key: str | None, known: Mapping[str, int]) -> int:
    """The place of an entry; without a key of the only one. Raises `InputError` that names the file and some keys."""
    if key is None and len(known) == 1:
        return next(iter(known.values()))
    if key is not None and key in known:
        return known[key]
    if not known:
        raise InputError(f"{path} has no entry.")
    some = ", ".join(list(known)[:3]) + (", ..." if len(known) > 3 else "")
    if key is None:
        raise InputError(f"{path} has {len(known)} entries ({some}): name one.")
    raise InputError(f"{path} has no entry '{key}'; there are {some}.")


class Line(NamedTuple):
    """A line of a file, and the bytes that it begins at and ends before."""

    begin: int
    end: int
    text: str


def read_lines(path: Path, *, start: int = 0) -> Iterator[Line]:
    """The lines of a UTF-8 file from byte `start` on. A byte order mark at the beginning of the file is left out.

    Raises `InputError` that names the file.
    """
    begin = start
    try:
        with path.open("rb") as stream:
            stream.seek(start)
            for line in stream:
                text = (line.removeprefix(b"\xef\xbb\xbf") if begin == 0 else line).decode("utf-8")
                yield Line(begin, begin + len(line), text)
                begin += len(line)
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text (near byte {begin}).") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None

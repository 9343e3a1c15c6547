"""What inputs are known by: files by size and time first, sha256 where these differ or the file was read anyway."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from stat import S_ISDIR
from typing import TYPE_CHECKING, Any

from omlab.digests import digest_of, file_digest
from omlab.errors import InputError
from omlab.payloads import Inputs, Referring, keeps

if TYPE_CHECKING:
    from omlab.records import Record
    from omlab.roles import Case

_SAMPLED = 16
_BLOCK = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """A file, or a folder as a whole: `mtime_ns` is the latest, `size` the sum of its files.

    `sampled`: the sha256 is over the size and blocks spread over the file or folder, which is read lazily.
    """

    path: str
    size: int
    mtime_ns: int
    sha256: str = ""
    sampled: bool = False

    def to_json(self) -> dict[str, Any]:
        """As a line of the log has it."""
        row = asdict(self)
        if not self.sampled:
            del row["sampled"]
        return row


@dataclass(frozen=True)
class Value:
    """What a list of cases says itself (a text, an entry's key, settings of a format), known by its digest."""

    sha256: str

    def to_json(self) -> dict[str, Any]:
        """As a line of the log has it."""
        return {"sha256": self.sha256}


Parts = Mapping[str, Sequence["Path | Value"]]
"""What the inputs of a case are made of, by their names."""


def parts_of(case: Case) -> Parts:
    """The files of a case, and what its list says itself: where one of them changes, it is done again."""
    parts: dict[str, list[Path | Value]] = {name: list(paths) for name, paths in case.files.items()}
    sources = getattr(case, "sources", None)
    told = dict(sources) if isinstance(sources, Mapping) else {}
    told["target"] = getattr(case, "target", None)
    for name, source in told.items():
        paths, key = getattr(source, "paths", None), getattr(source, "key", None)
        if not isinstance(paths, tuple):  # a data set's own cases may call other things so
            continue
        if not paths:
            parts[name] = [Value(digest_of(source.value))]
            continue
        if key not in (None, case.id):
            parts[name].append(Value(digest_of(key)))
        if getattr(source, "own", None):
            parts[name].append(Value(digest_of(source.own)))
    return parts


def said(path: Path) -> str:
    """A path as the log has it: from the root on, links and dots as they are."""
    return os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH118  # Path.absolute takes ten times as long


def stamp(path: Path, *, digest: bool, sampled: bool = False) -> Stamp:
    """How a file or folder is now. Raises `InputError` where it cannot be looked at."""
    try:
        size, mtime_ns = _size_and_time(path)
        sha256 = _digest(said(path), size, mtime_ns, sampled=sampled) if digest else ""
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    return Stamp(path=said(path), size=size, mtime_ns=mtime_ns, sha256=sha256, sampled=sampled and digest)


def agrees(known: Mapping[str, Any], path: Path | Value) -> bool:
    """Whether `path` is what a line of the log says it was; hashed only where size or time differ."""
    if isinstance(path, Value):
        return known == path.to_json()
    try:
        size, mtime_ns = _size_and_time(path)
        if size == known.get("size") and mtime_ns == known.get("mtime_ns"):
            return True
    except OSError:
        return False
    return is_copy(known, path)


def is_copy(known: Mapping[str, Any], path: Path) -> bool:
    """Whether `path` has the content that a line of the log tells of; what has its size is hashed."""
    try:
        size, mtime_ns = _size_and_time(path)
        if size != known.get("size"):
            return False
        return _digest(said(path), size, mtime_ns, sampled=bool(known.get("sampled"))) == known.get("sha256")
    except OSError:
        return False


def referred_by(inputs: Inputs) -> list[dict[str, Any]]:
    """The files that inputs refer to, as a line of the log has them; whoever needs one that is not there says so."""
    found = []
    for payload in inputs.values():
        for path in payload.referred() if keeps(payload, Referring) else ():
            with suppress(InputError):
                found.append(stamp(path, digest=True).to_json())
    return found


def all_agree(record: Record, parts: Parts) -> bool:
    """Whether the inputs of a case, and the files that they refer to, are what its line in the log says they were."""
    known = record.inputs
    if set(known) != set(parts) or not all(agrees(row, Path(row["path"])) for row in record.referred):
        return False
    return all(
        len(rows) == len(parts[name]) and all(agrees(row, path) for row, path in zip(rows, parts[name], strict=True))
        for name, rows in known.items()
    )


@lru_cache(maxsize=256)
def _digest(path: str, size: int, mtime_ns: int, *, sampled: bool) -> str:
    """Hashed once while size and time are the same: many cases may share a file, or be entries of one."""
    return _sampled_digest(Path(path)) if sampled else file_digest(Path(path))


def _size_and_time(path: Path) -> tuple[int, int]:
    facts = path.stat()
    if not S_ISDIR(facts.st_mode):
        return facts.st_size, facts.st_mtime_ns
    return _sum_of(child.stat() for child in path.rglob("*") if child.is_file())


def _sum_of(facts: Iterable[Any]) -> tuple[int, int]:
    size, latest = 0, 0
    for fact in facts:
        size, latest = size + fact.st_size, max(latest, fact.st_mtime_ns)
    return size, latest


def _sampled_digest(path: Path) -> str:
    """sha256 over the size and some blocks of a file, or a folder's files, too large to be read through."""
    if path.is_dir():
        return _sampled_folder(path)
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as stream:
        for number in range(_SAMPLED):
            stream.seek(max(0, size - _BLOCK) * number // (_SAMPLED - 1))
            digest.update(stream.read(_BLOCK))
    return digest.hexdigest()


def _sampled_folder(folder: Path) -> str:
    """sha256 over the names and sizes of all files of a folder, and blocks of some of them spread over it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sampled = {len(files) * number // _SAMPLED for number in range(_SAMPLED)} if files else set()
    rows = [(str(path.relative_to(folder)), path.stat().st_size) for path in files]
    return digest_of([rows, [_sampled_digest(files[number]) for number in sorted(sampled)]])

"""Whole repositories of the Hub in the cache of weights: a folder each, checked, atomic, safe when processes race.

    <cache>/weights/<name>-<key>/<name>/...   the files; the folder has this name only when all are there and checked
    <cache>/weights/<name>-<key>/omlab.json   the commit, and size, time and sha256 of every file

The key is drawn from the link with its revision. What a branch stands for is decided when it is first fetched.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from omlab.digests import file_digest
from omlab.errors import DownloadError, WeightsError, WeightsWarning
from omlab.weights import cache, files, sources

if TYPE_CHECKING:
    from omlab.weights.hub import Published


@dataclass(frozen=True, kw_only=True)
class Fact:
    """What is recorded of one file of a snapshot; `time` is that of its last change (ns)."""

    size: int
    sha256: str
    time: int


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A repository on this machine: its files by their names inside it, `commit` where it is known."""

    folder: Path
    facts: Mapping[str, Fact]
    commit: str | None

    @property
    def paths(self) -> dict[str, Path]:
        """Where each file lies."""
        return {name: self.folder / name for name in self.facts}

    @property
    def sha256(self) -> dict[str, str]:
        """The sha256 of each file."""
        return {name: fact.sha256 for name, fact in self.facts.items()}


def place(repository: str) -> Path:
    """The folder in which `hf://owner/name@revision` lies, or would lie, on this machine."""
    name = sources.parse_repository(repository).repository.partition("/")[2]
    return cache.folder_of(name, repository) / name


def cached(repository: str) -> Snapshot | None:
    """The snapshot where it is on this machine, whole as far as sizes tell; nothing is read through."""
    found = _recorded(repository)
    if found is None:
        return None
    try:
        whole = all((found.folder / name).stat().st_size == fact.size for name, fact in found.facts.items())
    except OSError:
        return None
    return found if whole else None


def fetch(repository: str, *, offline: bool | None = None) -> Snapshot:
    """The snapshot of `hf://owner/name@revision`, fetched if it is not in the cache.

    Files that the Hub knows a sha256 of are checked against it, all others have that of the first download
    recorded. A folder that was put in the place by hand is taken as it is, with a `WeightsWarning`.

    Raises:
        DownloadError: It is not here and cannot be fetched.
    """
    folder = place(repository)
    found = _taken(repository)
    if found is not None:
        return found
    if cache.is_offline() if offline is None else offline:
        raise DownloadError(_missing(repository, folder))
    with files.lock(folder.parent):
        found = _taken(repository)
        if found is not None:
            return found  # another process fetched it while this one waited
        try:
            return _download(repository, folder)
        except OSError as error:
            raise files.not_writable(folder.parent, error) from error


def verify(repository: str) -> Snapshot:
    """Read every file through. Raises `WeightsError` that names those which are not what was recorded."""
    folder = place(repository)
    found = _recorded(repository)
    if found is None:
        raise WeightsError(f"There is no snapshot of {repository} at {folder}.")
    bad = [name for name, fact in found.facts.items() if not _is_right(folder / name, fact, through=True)]
    if bad:
        raise WeightsError(f"{folder} is damaged or changed: {', '.join(bad[:5])} ({len(bad)} files).")
    return found


def keep(repository: str, content: Path, *, commit: str | None, sha256: Mapping[str, str]) -> Snapshot:
    """Give the folder `content`, whose files have these sha256, its place in the cache; the lock must be held."""
    folder = place(repository)
    facts = {name: _fact(content / name, digest) for name, digest in sha256.items()}
    _write(repository, facts, commit=commit)
    files.replace_folder(content, folder)
    return Snapshot(folder=folder, facts=facts, commit=commit)


def check_member(name: str) -> None:
    """Raise `WeightsError` where `name` (`sub/a.json`) may not be that of a file inside a snapshot."""
    for part in name.split("/"):
        files.check_name(part)


def _taken(repository: str) -> Snapshot | None:
    """The snapshot that is there and whole; one put there by hand is recorded, a damaged one is warned of."""
    found, folder = _recorded(repository), place(repository)
    if found is None:
        return _by_hand(repository, folder) if folder.is_dir() else None
    bad = [name for name, fact in found.facts.items() if not _is_right(folder / name, fact)]
    if not bad:
        _remember_times(repository, found)
        return found
    if folder.exists():
        warnings.warn(
            f"{folder} is damaged or changed ({', '.join(bad[:5])}): it must be fetched again.",
            WeightsWarning,
            stacklevel=3,
        )
    return None


def _remember_times(repository: str, found: Snapshot) -> None:
    """So that a copied cache is hashed once and not at each use; one that cannot be written is."""
    facts = {name: _fact(path, found.facts[name].sha256) for name, path in found.paths.items()}
    if facts != found.facts:
        with suppress(DownloadError):
            _write(repository, facts, commit=found.commit)


def _by_hand(repository: str, folder: Path) -> Snapshot | None:
    paths = dict(members(folder))
    if not paths:
        return None
    facts = {name: _fact(path, file_digest(path)) for name, path in paths.items()}
    _write(repository, facts, commit=None)
    warnings.warn(
        f"{folder} was put there by hand: its files were recorded as those of {repository}, and later uses must "
        "agree with them.",
        WeightsWarning,
        stacklevel=4,
    )
    return Snapshot(folder=folder, facts=facts, commit=None)


def members(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of a folder by their names inside it, in order; what tools keep in hidden folders is left out."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in inside.parts[:-1]):
            yield inside.as_posix(), path


def _download(repository: str, folder: Path) -> Snapshot:
    from omlab.weights import hub  # the network libraries are slow to import, and seldom needed

    source, before = sources.parse_repository(repository), _recorded(repository)
    if before is not None and before.commit:
        source = replace(source, revision=before.commit)  # what was damaged is fetched as it was
    commit, published = hub.contents(source, url=repository)
    partial = folder.with_name(f".{folder.name}.part")
    for file in published:
        check_member(file.name)
    have = sum(path.stat().st_size for path in partial.rglob("*") if path.is_file())
    files.check_room(folder.parent, max(0, sum(file.size or 0 for file in published) - have), name=folder.name)
    sha256 = {}
    for file in published:
        path = hub.download_into(source, file.name, commit=commit, folder=partial, url=repository)
        sha256[file.name] = _checked(file, path, repository=repository)
    shutil.rmtree(partial / ".cache", ignore_errors=True)
    for name, path in list(members(partial)):
        if name not in sha256:
            path.unlink()  # of an earlier attempt at what the branch stood for then
    return keep(repository, partial, commit=commit, sha256=sha256)


def _checked(file: Published, path: Path, *, repository: str) -> str:
    """The sha256 of a file that came. Raises `DownloadError` where it is not what was published."""
    size, sha256 = path.stat().st_size, file_digest(path)
    if file.size not in (None, size) or file.sha256 not in (None, sha256):
        path.unlink()
        raise DownloadError(
            f"{file.name} of {repository} came with {size} bytes and the sha256 {sha256}, and the Hub gives "
            f"{file.size} and {file.sha256}: the transfer was disturbed; try again."
        )
    return sha256


def _recorded(repository: str) -> Snapshot | None:
    folder = place(repository)
    try:
        record = json.loads((folder.parent / cache.RECORD).read_text(encoding="utf-8"))
        facts = {str(name): Fact(**fact) for name, fact in record["files"].items()}
        for name in facts:
            check_member(name)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, WeightsError):
        return None
    return Snapshot(folder=folder, facts=facts, commit=record.get("commit"))


def _write(repository: str, facts: Mapping[str, Fact], *, commit: str | None) -> None:
    record = {
        "repository": repository,
        "commit": commit,
        "files": {name: asdict(fact) for name, fact in facts.items()},
    }
    files.write_json(place(repository).parent / cache.RECORD, record)


def _fact(path: Path, sha256: str) -> Fact:
    found = path.stat()
    return Fact(size=found.st_size, sha256=sha256, time=found.st_mtime_ns)


def _is_right(path: Path, fact: Fact, *, through: bool = False) -> bool:
    try:
        files.check_regular(path)
        found = path.stat()
        if found.st_size != fact.size:
            return False
        return (not through and found.st_mtime_ns == fact.time) or file_digest(path) == fact.sha256
    except (OSError, WeightsError):
        return False


def _missing(repository: str, folder: Path) -> str:
    return (
        f"{repository} is not in the cache and the network is off: fetch it on another machine and bring it with "
        f"'omlab weights export' and 'import', put a copy of the repository at {folder}, or name yours with "
        "--weights FOLDER."
    )

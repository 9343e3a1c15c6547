"""The cache of weights files: one folder a published file, checked, atomic, safe when processes race.

    <cache>/weights/<name>-<key>/<name>           the file; it has this name only when it is whole and checked
    <cache>/weights/<name>-<key>/omlab.json       its url, size, time and sha256, and whether the card gave the sha256
    <cache>/weights/<name>-<key>.lock             held while one process fetches

The key is drawn from url and sha256, so two versions of one name never meet. `OMLAB_CACHE` moves `<cache>`. A file
whose size and time are those of when its sha256 was found right is not read through again but by `verify`.
Repositories, which are folders, are kept likewise by `omlab.weights.snapshot`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omlab.digests import file_digest
from omlab.errors import DownloadError, WeightsError, WeightsWarning
from omlab.weights import files, sources

if TYPE_CHECKING:
    from omlab.card_schema import WeightsFile

RECORD = "omlab.json"
"""Beside a file or folder of the cache: what is known of it."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the cache knows of a file. `published`: the card gave the sha256; else it is that of the first download.

    `time`: when the file was last changed (ns), as the file system said when the sha256 was found right.
    """

    url: str
    size: int
    sha256: str
    published: bool
    time: int


def cache_folder() -> Path:
    """The folder of omlab's caches: `OMLAB_CACHE`, or the platform's place for caches."""
    if given := os.environ.get("OMLAB_CACHE"):
        return Path(given).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "omlab"
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "omlab"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "omlab"


def place(file: WeightsFile) -> Path:
    """Where `file` lies, or would lie, on this machine."""
    source = sources.parse(file.url)
    if source.kind == "local":
        return Path(source.where)
    return folder_of(file.name, f"{file.url}\n{file.sha256 or ''}") / file.name


def folder_of(name: str, identity: str) -> Path:
    """The folder of the cache for what is called `name`; `identity` tells apart what has the same name."""
    files.check_name(name)
    key = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return cache_folder() / "weights" / f"{name}-{key}"


def cached(file: WeightsFile) -> Path | None:
    """The path of `file` where it is on this machine, whole as far as its size tells; nothing is read through."""
    path = place(file)
    try:
        size = path.stat().st_size
    except OSError:
        return None
    record = read_record(path)
    wanted = record.size if record else file.size
    return path if path.is_file() and wanted in (None, size) else None


def fetch(file: WeightsFile, *, offline: bool | None = None) -> Path:
    """The path of `file`, fetched if it is not in the cache, its sha256 checked in either case.

    Where the card knows no sha256, that of the first download is recorded with a `WeightsWarning`, and every later
    use must agree with it. A damaged file is fetched again.

    Args:
        file: What a card says of the file.
        offline: True: never use the network. None: as `OMLAB_OFFLINE` says.

    Raises:
        DownloadError: The file is not here and cannot be fetched.
        WeightsError: It is here, and its content is not what was published or recorded.
    """
    source = sources.parse(file.url)
    path = place(file)
    if source.kind == "local":
        verify(path, file)
        return path
    problem = check(file, path) if path.exists() else _place_it_here(file, path)
    if problem is None:
        return path  # without the lock: a cache that someone else prepared may be read-only
    if is_offline() if offline is None else offline:
        raise DownloadError(problem)
    with files.lock(path.parent):
        problem = check(file, path) if path.exists() else None
        if problem is None and path.exists():
            return path  # another process fetched it while this one waited
        if problem is not None:
            warnings.warn(f"{problem} It is fetched again.", WeightsWarning, stacklevel=2)
        try:
            return _download(file, source, path)
        except OSError as error:
            raise files.not_writable(path.parent, error) from error


def verify(path: Path, file: WeightsFile) -> None:
    """Read `path` through and check that it is the file that the card describes. Raises `WeightsError`."""
    problem = check(file, Path(path), through=True)
    if problem is not None:
        raise WeightsError(problem)


def check(file: WeightsFile, path: Path, *, through: bool = False) -> str | None:
    """What is wrong with the copy of `file` at `path`, or None; a copy put there by hand is recorded.

    Unless `through`, a file whose size and time are those of its record is believed.
    """
    try:
        files.check_regular(path)
        record = read_record(path)
        if record and not through and _is_unchanged(record, path) and file.sha256 in (None, record.sha256):
            return None
        size_wanted = file.size or (record.size if record else None)
        sha256_wanted = file.sha256 or (record.sha256 if record else None)
        size = path.stat().st_size
        if size_wanted not in (None, size):
            return f"{path} has {size} bytes where {size_wanted} were published: it is truncated or another file."
        is_local = sources.parse(file.url).kind == "local"
        if is_local and sha256_wanted is None:
            return None
        sha256 = file_digest(path)
    except WeightsError as error:
        return str(error)
    except OSError as error:
        return f"The weights file {path} cannot be read: {error.strerror or error}."
    if sha256_wanted not in (None, sha256):
        whose = "the card gives" if file.sha256 else "was recorded when it was first fetched"
        return f"{path} is damaged or changed: its sha256 is {sha256}, and {sha256_wanted} {whose}."
    if not is_local and path == place(file):
        _keep_record(file, path, sha256=sha256, known=sha256_wanted is not None)
    return None


def sha256_of(file: WeightsFile) -> str | None:
    """The sha256 of a file that was fetched, as the card or the cache knows it."""
    record = read_record(place(file)) if sources.parse(file.url).kind != "local" else None
    return file.sha256 or (record.sha256 if record else None)


def remove(file: WeightsFile) -> int:
    """Take `file` out of the cache, with anything half fetched; gives the bytes freed. Local files are not touched."""
    if sources.parse(file.url).kind == "local":
        raise WeightsError(f"{place(file)} is a file of yours, not of the cache; it is not removed.")
    return remove_folder(place(file).parent)


def remove_folder(folder: Path) -> int:
    """Take one folder of the cache away; gives the bytes freed."""
    if not folder.exists():
        return 0
    with files.lock(folder):
        freed = sum(entry.stat().st_size for entry in folder.rglob("*") if entry.is_file())
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise WeightsError(f"{folder} cannot be removed: {error.strerror or error}.") from error
    return freed


def is_offline() -> bool:
    """Whether `OMLAB_OFFLINE` forbids the network."""
    return os.environ.get("OMLAB_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def read_record(path: Path) -> Record | None:
    """What was recorded of the cached file `path`; None for a local file, or where nothing readable is recorded."""
    try:
        return Record(**json.loads((path.parent / RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _is_unchanged(record: Record, path: Path) -> bool:
    found = path.stat()
    return (found.st_size, found.st_mtime_ns) == (record.size, record.time)


def _keep_record(file: WeightsFile, path: Path, *, sha256: str, known: bool) -> None:
    """Record a file that lies at its place; where its sha256 was `known`, a cache that cannot be written is fine."""
    try:
        write_record(file, path, sha256=sha256)
    except DownloadError:
        if not known:
            raise


def write_record(file: WeightsFile, path: Path, *, sha256: str, written: Path | None = None) -> None:
    """Record that `path` has this sha256; `written` is where its content lies until it gets its name."""
    first = read_record(path) is None
    found = (written or path).stat()
    record = Record(
        url=file.url, size=found.st_size, sha256=sha256, published=file.sha256 is not None, time=found.st_mtime_ns
    )
    files.write_json(path.parent / RECORD, asdict(record))
    if first and not record.published:
        warnings.warn(
            f"The publisher of {file.name} gives no sha256: {sha256} was recorded, and later uses must agree with it.",
            WeightsWarning,
            stacklevel=4,
        )


def _download(file: WeightsFile, source: sources.Source, path: Path) -> Path:
    from omlab.weights import download

    record = read_record(path)
    wanted = file.sha256 or (record.sha256 if record else None)
    path.unlink(missing_ok=True)
    temporary, resumed = download.to_partial(file, source, path, proven=wanted is not None)
    sha256 = file_digest(temporary)
    if resumed and wanted not in (None, sha256):  # the earlier part was of another version, or damaged
        temporary.unlink()
        temporary, _ = download.to_partial(file, source, path, proven=True)
        sha256 = file_digest(temporary)
    problem = _wrong_content(file, wanted=wanted, sha256=sha256, size=temporary.stat().st_size)
    if problem is not None:
        temporary.unlink()
        raise DownloadError(problem)
    write_record(file, path, sha256=sha256, written=temporary)
    files.replace(temporary, path)
    return path


def _wrong_content(file: WeightsFile, *, wanted: str | None, sha256: str, size: int) -> str | None:
    """Why what was received is not kept; None where it is what was wanted."""
    if file.size not in (None, size):
        return f"{file.name} from {file.url} has {size} bytes, and the card says {file.size}; nothing was kept."
    if wanted in (None, sha256):
        return None
    if file.sha256:
        return (
            f"{file.name} from {file.url} has the sha256 {sha256}, and the card gives {wanted}: "
            "the transfer was disturbed or the published file has changed; nothing was kept."
        )
    return (
        f"{file.name} at {file.url} is not the file that was first fetched from there (sha256 {sha256}, then "
        f"{wanted}); if you trust the new one, run 'omlab weights remove' for it and fetch again."
    )


def _place_it_here(file: WeightsFile, path: Path) -> str:
    size = file.size or file.approximate_size
    about = f" (about {files.megabytes(size)})" if size else ""
    return (
        f"{file.name} is not in the cache and the network is off: get {file.url}{about} elsewhere and put it at "
        f"{path}, or name your copy with --weights FILE."
    )

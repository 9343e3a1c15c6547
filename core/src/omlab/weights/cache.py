"""The cache of weights files: one folder a published file, checked, atomic, safe when processes race.

    <cache>/weights/<name>-<key>/<name>           the file; it has this name only when it is whole and checked
    <cache>/weights/<name>-<key>/omlab.json       its url, size and sha256, and whether the card gave the sha256
    <cache>/weights/<name>-<key>.lock             held while one process fetches

The key is drawn from url and sha256, so two versions of one name never meet. `OMLAB_CACHE` moves `<cache>`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from omlab.card_schema import WeightsFile
from omlab.digests import file_digest
from omlab.errors import DownloadError, WeightsError, WeightsWarning
from omlab.weights import files, sources

_RECORD = "omlab.json"


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the cache knows of a file. `published`: the card gave the sha256; else it is that of the first download."""

    url: str
    size: int
    sha256: str
    published: bool


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
    key = hashlib.sha256(f"{file.url}\n{file.sha256 or ''}".encode()).hexdigest()[:12]
    return cache_folder() / "weights" / f"{file.name}-{key}" / file.name


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
        return _local(file, path)
    problem = check(file, path) if path.exists() else _place_it_here(file, path)
    if problem is None:
        return path  # without the lock: a cache that someone else prepared may be read-only
    if is_offline() if offline is None else offline:
        raise DownloadError(problem)
    with _lock(path.parent):
        problem = check(file, path) if path.exists() else None
        if problem is None and path.exists():
            return path  # another process fetched it while this one waited
        if problem is not None:
            warnings.warn(f"{problem} It is fetched again.", WeightsWarning, stacklevel=2)
        try:
            return _download(file, source, path)
        except OSError as error:
            raise _not_writable(path.parent, error) from error


def verify(path: Path, file: WeightsFile) -> None:
    """Check that `path` is the file that the card describes. Raises `WeightsError`."""
    problem = check(file, Path(path))
    if problem is not None:
        raise WeightsError(problem)


def check(file: WeightsFile, path: Path) -> str | None:
    """What is wrong with the copy of `file` at `path`, or None; a copy put there by hand is recorded."""
    record = read_record(path)
    size_wanted = file.size or (record.size if record else None)
    sha256_wanted = file.sha256 or (record.sha256 if record else None)
    try:
        size = path.stat().st_size
        sha256 = None if size_wanted not in (None, size) else file_digest(path)
    except FileNotFoundError:
        return f"There is no weights file {path}."
    except OSError as error:
        return f"The weights file {path} cannot be read: {error.strerror or error}."
    if sha256 is None:
        return f"{path} has {size} bytes where {size_wanted} were published: it is truncated or another file."
    if sha256_wanted not in (None, sha256):
        whose = "the card gives" if file.sha256 else "was recorded when it was first fetched"
        return f"{path} is damaged or changed: its sha256 is {sha256}, and {sha256_wanted} {whose}."
    if sha256_wanted is None and path == place(file) and sources.parse(file.url).kind != "local":
        _write_record(file, path, size=size, sha256=sha256)
    return None


def remove(file: WeightsFile) -> int:
    """Take `file` out of the cache, with anything half fetched; gives the bytes freed. Local files are not touched."""
    if sources.parse(file.url).kind == "local":
        raise WeightsError(f"{place(file)} is a file of yours, not of the cache; it is not removed.")
    folder = place(file).parent
    if not folder.exists():
        return 0
    with _lock(folder):
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
        return Record(**json.loads((path.parent / _RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _write_record(file: WeightsFile, path: Path, *, size: int, sha256: str) -> None:
    first = read_record(path) is None
    record = Record(url=file.url, size=size, sha256=sha256, published=file.sha256 is not None)
    temporary = path.parent / f".{_RECORD}.{os.getpid()}.tmp"
    try:
        temporary.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
        files.replace(temporary, path.parent / _RECORD)
    except OSError as error:
        raise _not_writable(path.parent, error) from error
    if first and not record.published:
        warnings.warn(
            f"The publisher of {file.name} gives no sha256: {sha256} was recorded, and later uses must agree with it.",
            WeightsWarning,
            stacklevel=4,
        )


def _local(file: WeightsFile, path: Path) -> Path:
    verify(path, file)
    return path


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
    _write_record(file, path, size=temporary.stat().st_size, sha256=sha256)
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


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Only one process at a time works on `folder`; the others wait for it."""
    from filelock import FileLock

    lock = FileLock(folder.with_name(folder.name + ".lock"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise _not_writable(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def _not_writable(folder: Path, error: Exception) -> DownloadError:
    return DownloadError(
        f"The weights cache {folder} cannot be written ({getattr(error, 'strerror', None) or error}): set OMLAB_CACHE "
        "to a folder of yours, or name a local file with --weights FILE."
    )

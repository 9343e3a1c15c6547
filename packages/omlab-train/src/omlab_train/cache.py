"""Prepared cases on disk: made once, read as memory maps by every process that trains on them.

    <folder>/<key>/<name>.npy      an array
    <folder>/<key>/entry.json      their dtypes and shapes; read last, written before the folder has its name
    <folder>/<key>.lock            held while one process makes the entry

A recipe keeps the entries, which are light and can be pickled, and its batches open the arrays where they are cut:

    cache = PreparedCache()
    case = cache.get(digest_of([case.id, plan.to_dict()]), lambda: {"image": image_of(case), "labels": labels_of(case)})
    patch = case["image"][:, :32, :32, :32]     # reads these voxels from the disk, nothing else
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.errors import OmlabWarning, OutputError, TrainingError
from omlab.files import sync, writing
from omlab.weights import cache_folder

Arrays = Mapping[str, NDArray[Any]]

KEPT_DAYS = 90
"""How long an entry is kept that no training begins with."""
_RECORD = "entry.json"
_KEY = re.compile(r"[0-9a-f]{16,128}")
_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")


class Entry(Mapping[str, NDArray[Any]]):
    """The arrays of an entry by name, each opened as a read-only memory map whenever it is asked for.

    Holds no file open, so that thousands can be kept, and is pickled as its place.

    Raises:
        TrainingError: The entry has been pruned since.
    """

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        self.folder = folder
        self.names = names

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self.names:
            raise KeyError(name)
        try:
            array: NDArray[Any] = np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, EOFError, ValueError) as error:  # numpy's for an empty file is EOFError
            raise TrainingError(
                f"The prepared case {self.folder} is gone or damaged ({error}): start again, and it is made anew."
            ) from error
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


class PreparedCache:
    """Arrays that are expensive to make, kept in a folder by a digest of all that they depend on.

    Processes may share it and race: each entry is made once, by one of them, and has its name when it is whole. Who
    makes one removes those that nobody has asked for in `KEPT_DAYS`, so that the folder does not grow for ever.

    Args:
        folder: Where; left out: `prepared` in omlab's cache (`OMLAB_CACHE`).
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = cache_folder() / "prepared" if folder is None else Path(folder)
        self._is_pruned = False

    def get(self, key: str, make: Callable[[], Arrays]) -> Entry:
        """The entry of `key`, made with `make` where it is not there; one that is damaged is made anew, with a warning.

        Args:
            key: A digest in hexadecimal digits, 16 or more, of the source's identity, of every setting and of the
                version of the code that prepares.
            make: Gives the arrays by name (letters, digits, underscores). They are in memory until they are written.

        Raises:
            OutputError: The folder cannot be written, or has not enough room.
        """
        if not _KEY.fullmatch(key):
            raise ValueError(f"a key is a digest in hexadecimal digits, not '{key}'")
        place = self.folder / key
        entry = _opened(place)
        if entry is None:
            self._prune_once()
            with self._locked(key):
                entry = _opened(place)
                if entry is None:
                    self._make(place, make)
                    entry = _opened(place)
        if entry is None:
            raise OutputError(f"The prepared case {place} was written, but cannot be read back: check the disk.")
        _touch(place)
        return entry

    def prune(self, *, days: float) -> int:
        """Remove the entries that nobody has asked for in so many days; gives the bytes freed.

        A training that uses one of them ends with an error. Lock files, which are empty, stay, and so does what
        somebody else made and may alone remove.
        """
        freed = 0
        for path in self.folder.glob("*"):
            if _KEY.fullmatch(path.name) and _last_use(path) < time.time() - days * 86_400:
                size = _bytes(path)
                with suppress(OSError, OutputError), self._locked(path.name):
                    _remove(path)
                    freed += size
        return freed

    def _prune_once(self) -> None:
        if not self._is_pruned:
            self._is_pruned = True
            self.prune(days=KEPT_DAYS)

    def _make(self, place: Path, make: Callable[[], Arrays]) -> None:
        if place.exists():
            warnings.warn(f"The prepared case {place} is damaged; it is made anew.", OmlabWarning, stacklevel=4)
        arrays = {name: np.asanyarray(array) for name, array in make().items()}
        if wrong := [name for name in arrays if not _NAME.fullmatch(name)]:
            raise ValueError(f"an array cannot have the name '{wrong[0]}'")
        partial = place.with_name(f".{place.name}.partial")  # the lock is held: what lies there was left by a kill
        with writing("A prepared case", place):
            _remove(partial)
            partial.mkdir()
            try:
                if shutil.disk_usage(partial).free < sum(array.nbytes for array in arrays.values()):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                for name, array in arrays.items():
                    np.save(partial / f"{name}.npy", array, allow_pickle=False)
                    sync(partial / f"{name}.npy")
                record = {name: {"dtype": a.dtype.str, "shape": list(a.shape)} for name, a in arrays.items()}
                (partial / _RECORD).write_text(json.dumps(record), encoding="utf-8")
                sync(partial / _RECORD)
                _remove(place)
                partial.rename(place)
            finally:
                _remove(partial)

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        from filelock import FileLock

        lock = FileLock(self.folder / f"{key}.lock")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except (OSError, NotImplementedError) as error:
            raise OutputError(
                f"The cache of prepared cases in {self.folder} cannot be written "
                f"({getattr(error, 'strerror', None) or error}): set OMLAB_CACHE to a folder of yours."
            ) from error
        try:
            yield
        finally:
            lock.release()


def _opened(place: Path) -> Entry | None:
    """The entry at `place` where it is whole: every array there, of its size, dtype and shape."""
    try:
        record = json.loads((place / _RECORD).read_text(encoding="utf-8"))
        entry = Entry(place, tuple(record))
        whole = all(
            entry[name].dtype.str == expected["dtype"] and list(entry[name].shape) == expected["shape"]
            for name, expected in record.items()
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, TrainingError):
        return None
    return entry if whole else None


def _remove(path: Path) -> None:
    """Remove a folder; under its own name nobody sees a part of it."""
    if not path.exists():
        return
    gone = path if path.name.startswith(".") else path.with_name(f".{path.name}.gone")
    if gone != path:
        shutil.rmtree(gone, ignore_errors=True)
        path.rename(gone)
    shutil.rmtree(gone)


def _touch(place: Path) -> None:
    try:
        os.utime(place / _RECORD)
    except OSError:  # a cache that somebody else prepared may be read-only
        return


def _last_use(place: Path) -> float:
    try:
        return (place / _RECORD).stat().st_mtime
    except OSError:
        return 0.0


def _bytes(place: Path) -> int:
    return sum(path.stat().st_size for path in place.glob("*") if path.is_file())

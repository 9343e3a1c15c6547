"""Writing a store of bags chunk by chunk, so that a start that was killed anywhere goes on where it stopped.

How far it is stands in `omlab-progress.json` in the folder: it is the first file there and the last to go, and until
then the folder is no bag. What comes of it is, to the byte, what an undisturbed start would have written.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab import progress
from omlab.digests import digest_of
from omlab.errors import OmlabNote, OutputError
from omlab.files import writing
from omlab.versions import package_versions
from omlab_slide.bag import Bag, ComputedFeatures, chunk_rows
from omlab_slide.store.form import FACTS, PROGRESS, VERSION
from omlab_slide.store.tissue_arrays import write_tissue

_WHAT = "The bag"


def write_store(bag: Bag, path: Path) -> None:
    """Write a bag to the folder `path`, or go on with what an earlier start left there.

    Raises `OutputError` where something else is there or it cannot be written; what computing features raises goes on.
    """
    import zarr

    what = _made_of(bag)
    rows = bag.features.rows if isinstance(bag.features, ComputedFeatures) else _rows(bag)
    with writing(_WHAT, path):
        if _is_whole(path, what):
            warnings.warn(f"{path} is whole already: nothing was computed.", OmlabNote, stacklevel=3)
            return
        done = _done(path, what)
        if done is None:
            _begin(bag, path, what, rows=rows)
            done = 0
        _sweep(path)
    group: Any = zarr.open_group(zarr.storage.LocalStore(path), mode="r+")
    with progress.bar("patches", total=len(bag)) as advance:
        advance(min(done * rows, len(bag)))
        for number, chunk in _chunks(bag, rows, first=done):
            with writing(_WHAT, path):
                group["features"][number * rows : number * rows + len(chunk)] = chunk
                _note(path, what, done=number + 1)
            advance(len(chunk))
    with writing(_WHAT, path):
        group.attrs[FACTS] = {**_facts(bag), "software": package_versions("omlab-slide"), "made_of": what}
        (path / PROGRESS).unlink()


def _rows(bag: Bag) -> int:
    return chunk_rows(bag.features.shape[1], bag.features.dtype)


def _chunks(bag: Bag, rows: int, *, first: int) -> Iterator[tuple[int, NDArray[Any]]]:
    if first * rows >= len(bag):
        return
    if isinstance(bag.features, ComputedFeatures):
        yield from enumerate(bag.features.compute(first), start=first)
    else:
        for number in range(first, -(-len(bag) // rows)):
            yield number, np.asarray(bag.features[number * rows : (number + 1) * rows])


def _facts(bag: Bag) -> dict[str, Any]:
    """What stands in the store beside the arrays (JSON)."""
    return {
        "version": VERSION,
        "size0": bag.size0,
        "dimensions": list(bag.dimensions),
        "mpp": bag.mpp,
        "size": bag.size,
        "target_mpp": bag.target_mpp,
        "overlap": bag.overlap,
        "encoder": dict(bag.encoder),
        "slide": dict(bag.slide),
    }


def _made_of(bag: Bag) -> str:
    """What a store that is begun must be of for another start to go on with it."""
    arrays = [bag.coords, bag.share] + ([] if bag.tissue is None else [bag.tissue.mask])
    told = [hashlib.sha256(np.ascontiguousarray(array).data).hexdigest() for array in arrays]
    return digest_of([_facts(bag), list(bag.features.shape), str(bag.features.dtype), told])


def _is_whole(path: Path, what: str) -> bool:
    """Whether an earlier start brought it to its end: it may have been killed before the folder got its name."""
    if (path / PROGRESS).exists() or not (path / "zarr.json").exists():
        return False
    try:
        found = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
        return bool(found["attributes"][FACTS]["made_of"] == what)
    except (ValueError, KeyError, TypeError):
        return False


def _done(path: Path, what: str) -> int | None:
    """How many chunks an earlier start wrote; None: nothing is there that can be gone on with.

    Raises `OutputError` where something else is there.
    """
    if not path.exists():
        return None
    try:
        known = json.loads((path / PROGRESS).read_text(encoding="utf-8"))
        if known["what"] == what and known["done"] is not None:
            return int(known["done"])
    except FileNotFoundError:
        if any(not child.name.startswith(PROGRESS) for child in path.iterdir()):  # a torn first note is ours
            raise OutputError(f"{path} exists already; remove it or choose another output.") from None
    except (ValueError, KeyError, TypeError):
        pass  # torn while it was written: nothing of it can be relied on
    return None


def _begin(bag: Bag, path: Path, what: str, *, rows: int) -> None:
    """Make the store with all but its features; what was begun of something else is removed."""
    import zarr

    path.mkdir(exist_ok=True)
    _note(path, what, done=None)
    for child in path.iterdir():
        if child.name != PROGRESS:
            rmtree(child) if child.is_dir() else child.unlink()
    group = zarr.create_group(zarr.storage.LocalStore(path), zarr_format=3)
    group.create_array("coords", data=bag.coords.astype("<i4"), chunks=bag.coords.shape)
    group.create_array("share", data=bag.share.astype("<f2"), chunks=bag.share.shape)
    if bag.tissue is not None:
        write_tissue(group.create_group("tissue"), bag.tissue)
    group.create_array(
        "features",
        shape=bag.features.shape,
        chunks=(min(rows, len(bag)), bag.features.shape[1]),
        dtype=bag.features.dtype,
        fill_value=np.nan,  # a chunk that is lost is not taken for features
        compressors=None,  # features hardly become smaller, and are read far more often than written
    )
    _note(path, what, done=0)


def _sweep(path: Path) -> None:
    """Remove what zarr was writing when an earlier start was killed: such files bear names of their own."""
    for leftover in path.rglob("*.partial"):
        leftover.unlink()


def _note(path: Path, what: str, *, done: int | None) -> None:
    partial = path / f"{PROGRESS}.partial"
    partial.write_text(json.dumps({"what": what, "done": done}), encoding="utf-8")
    partial.replace(path / PROGRESS)

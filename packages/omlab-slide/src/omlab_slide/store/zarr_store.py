"""Our store of bags (`.bag.zarr`): a zarr 3 group, one folder a slide.

zarr.json       attribute `omlab_bag`: version of this form, patch grid, slide, encoder, versions; written last
features        (N, D) float16 or float32, in chunks of about 1 MB
coords          (N, 2) int32, top-left corners (x, y) in pixels of level 0
share           (N,) float16, tissue in each patch
tissue          where tissue was found (`omlab_slide.store.tissue_arrays`), where that is known
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError, OutputError, one_line
from omlab.payloads import Inputs, Payload, an, describe
from omlab_slide.bag import Bag
from omlab_slide.store.form import FACTS, PROGRESS, VERSION
from omlab_slide.store.tissue_arrays import read_tissue
from omlab_slide.store.zarr_writing import write_store


class BagStore:
    """The format `bag-zarr`: reads bags lazily, writes them chunk by chunk and goes on with what was begun."""

    def read(self, path: Path, *, kind: str) -> Bag:
        """Open a bag; features are read when they are asked for.

        Raises `InputError` where it is no bag, is not whole, or is damaged.
        """
        group = _opened(path)
        facts = _facts(group, path)
        features = _array(group, "features", path, ndim=2)
        stored = StoredFeatures(path=path, shape=features.shape, dtype=np.dtype(features.dtype))
        try:
            return Bag(
                features=stored,
                coords=_array(group, "coords", path, ndim=2)[:].astype(np.int32, copy=False),
                share=_array(group, "share", path, ndim=1)[:].astype(np.float16, copy=False),
                size0=int(facts["size0"]),
                dimensions=tuple(facts["dimensions"]),
                mpp=facts["mpp"],
                size=int(facts["size"]),
                target_mpp=facts["target_mpp"],
                overlap=int(facts["overlap"]),
                tissue=read_tissue(group["tissue"]) if "tissue" in group else None,
                encoder=facts["encoder"],
                slide=facts["slide"],
            )
        except InputError as error:
            raise InputError(f"{path} is damaged: {error}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is damaged: its facts cannot be read ({one_line(error)[:200]}).") from error

    def write(self, payload: Payload, path: Path, *, inputs: Inputs = MappingProxyType({})) -> None:
        """Write a bag, computing its features meanwhile where they are not there yet.

        What an earlier start left at `path` of the same bag is gone on with, from the first chunk that is not there.

        Raises `OutputError` where it cannot be written, or something else is there.
        """
        if not isinstance(payload, Bag):
            raise OutputError(f"{path}: a store of bags holds a bag, not {an(describe(payload))}.")
        write_store(payload, path)


@dataclass(frozen=True, kw_only=True)
class StoredFeatures:
    """The features of a store, read by rows when they are asked for; picklable."""

    path: Path
    shape: tuple[int, int]
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[np.integer], /) -> NDArray[Any]:
        array = _array(_opened(self.path), "features", self.path, ndim=2)
        try:
            found: NDArray[Any] = np.asarray(array[rows] if isinstance(rows, slice) else array.oindex[rows])
        except Exception as error:  # what a damaged chunk raises depends on its codec
            raise InputError(
                f"{self.path} cannot be read ({one_line(error)[:200]}): a chunk of its features is damaged or cut "
                "short; make it again."
            ) from error
        if np.isnan(found[:, :1]).any():  # what zarr gives for chunks that are not there
            raise InputError(f"{self.path} lacks chunks of its features: copy it again, or make it again.")
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # NumPy's form
        return np.asarray(self[:], dtype)


def _opened(path: Path) -> Any:
    import zarr

    if not path.exists():
        raise InputError(f"{path} does not exist.")
    if not path.is_dir():
        raise InputError(f"{path} is a file, but a store of bags is a folder: unpack it, or name the folder.")
    if (path / PROGRESS).exists():
        raise InputError(f"{path} is not whole: the command that makes it was stopped; start it again.")
    if not (path / "zarr.json").is_file():
        raise InputError(f"{path} is no store of bags: it has no zarr.json.")
    try:
        node = zarr.open(store=zarr.storage.LocalStore(path, read_only=True), mode="r")
    except Exception as error:  # of json, of zarr's own checks, of the system
        raise InputError(f"{path} cannot be read ({one_line(error)[:200]}): it is damaged or cut short.") from error
    if not isinstance(node, zarr.Group):
        raise InputError(f"{path} is no store of bags, but a single zarr array.")
    return node


def _facts(group: Any, path: Path) -> Mapping[str, Any]:
    facts = group.attrs.get(FACTS)
    if not isinstance(facts, Mapping):
        raise InputError(f"{path} is no store of bags: its zarr.json has no '{FACTS}'.")
    if facts.get("version") != VERSION:
        raise InputError(
            f"{path} is a store of bags of version {facts.get('version')}, but this omlab-slide reads version "
            f"{VERSION}: install the one that made it."
        )
    return facts


def _array(group: Any, name: str, path: Path, *, ndim: int) -> Any:
    import zarr

    try:
        array = group[name]
    except Exception as error:  # not there, or its metadata are damaged
        raise InputError(f"{path} has no '{name}' that can be read: copy it again.") from error
    if not isinstance(array, zarr.Array) or array.ndim != ndim:
        raise InputError(f"{path} is damaged: its '{name}' is no array of {ndim} axes.")
    return array

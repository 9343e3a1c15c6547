"""Writing OME-Zarr block by block, so that a start that was killed goes on where it stopped.

The blocks go into level 0; the coarser levels are made of it when it is whole, a slab at a time; the OME metadata are
written last. What was done until then stands in `omlab-progress.json` in the folder, which the last step removes.
"""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from shutil import rmtree
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from omlab import progress
from omlab.digests import digest_of
from omlab.errors import OmlabNote, OutputError
from omlab.files import writing
from omlab_volume.big.payloads import BigLabelMap, BigVolume
from omlab_volume.big.voxels import Computed, Region, tiles
from omlab_volume.io.ome_metadata import OWN, label_attributes, multiscale_attributes
from omlab_volume.labels import JSON_KEY, labels_to_json

Version = Literal["0.4", "0.5"]

PROGRESS = "omlab-progress.json"
_ROOTS = ("zarr.json", ".zgroup")
_CHUNK = 128
_LEAST = 256  # voxels of the longest axis from which no coarser level is made
_AT_ONCE = 1 << 28  # bytes that are read of a payload that is not computed


def write_store(payload: BigVolume | BigLabelMap, path: Path, *, version: Version = "0.5") -> None:
    """Write a payload to the folder `path`, or go on with what an earlier start left there.

    Raises `OutputError` where something else is there or it cannot be written; what computing a block raises goes on.
    """
    regions = _regions(payload)
    what = _description(payload, regions, version=version)
    with writing("The OME-Zarr image", path):
        if _is_whole(path, what, payload):
            warnings.warn(f"{path} is whole already: nothing was computed.", OmlabNote, stacklevel=3)
            return
        done = _done(path, what, payload)
        arrays = _arrays(payload, path, is_new=done is None, version=version)
        done = done or 0
        _note(path, what, payload, done=done)
    with progress.bar("blocks", total=len(regions)) as advance:
        advance(done)
        for number, block in _blocks(payload, regions, first=done):
            with writing("The OME-Zarr image", path):
                _put(arrays[0], regions[number], block)
                _note(path, what, payload, done=number + 1)
            advance(1)
    with writing("The OME-Zarr image", path):
        method = _method(payload)
        for fine, coarse in itertools.pairwise(arrays):
            _coarsen(fine, coarse, method=method)
        _describe(payload, path, what, count=len(arrays), method=method, version=version)
        (path / PROGRESS).unlink()


def _regions(payload: BigVolume | BigLabelMap) -> Sequence[Region]:
    """The blocks in the order in which they are written; of what is not computed, several chunks at once."""
    if isinstance(payload.voxels, Computed):
        return payload.voxels.regions
    size = list(_chunks(payload))
    for axis in range(3):
        room = _AT_ONCE // (payload.dtype.itemsize * payload.voxels.shape[0] * size[0] * size[1] * size[2])
        size[axis] *= max(1, min(room, -(-payload.grid.shape[axis] // size[axis])))
    return tiles(payload.grid.shape, size)


def _chunks(payload: BigVolume | BigLabelMap) -> tuple[int, int, int]:
    wanted = payload.chunks if isinstance(payload.voxels, Computed) else (_CHUNK, _CHUNK, _CHUNK)
    i, j, k = (min(chunk, size) for chunk, size in zip(wanted, payload.grid.shape, strict=True))
    return i, j, k


def _blocks(
    payload: BigVolume | BigLabelMap, regions: Sequence[Region], *, first: int
) -> Iterator[tuple[int, NDArray[Any]]]:
    voxels = payload.voxels
    if first == len(regions):
        return
    if isinstance(voxels, Computed):
        yield from zip(range(first, len(regions)), voxels.compute(first), strict=True)
    else:
        for number in range(first, len(regions)):
            yield number, voxels.read(regions[number])


def _description(payload: BigVolume | BigLabelMap, regions: Sequence[Region], *, version: str) -> str:
    """What a store that is begun must be of for another start to go on with it."""
    bounds = [[(part.start, part.stop) for part in region] for region in regions]
    labels = labels_to_json(list(payload.labels)) if isinstance(payload, BigLabelMap) else ""
    facts = [payload.kind, payload.voxels.shape, str(payload.dtype), _chunks(payload), bounds, labels, version]
    return digest_of([facts, payload.affine.tolist()])


def _is_whole(path: Path, what: str, payload: BigVolume | BigLabelMap) -> bool:
    """Whether an earlier start brought it to its end: it may have been killed before the folder got its name."""
    import zarr

    if not path.exists() or (path / PROGRESS).exists() or not any((path / name).exists() for name in _ROOTS):
        return False
    own = zarr.open_group(zarr.storage.LocalStore(path), mode="r").attrs.get(OWN)
    if not isinstance(own, dict) or own.get("made_of") != what:
        return False
    _restore(payload, own.get("counted"))
    return True


def _done(path: Path, what: str, payload: BigVolume | BigLabelMap) -> int | None:
    """How many blocks an earlier start wrote; None: nothing is there. What is begun of something else is removed."""
    if not path.exists():
        return None
    try:
        known = json.loads((path / PROGRESS).read_text(encoding="utf-8"))
        if known["what"] == what and any((path / name).exists() for name in _ROOTS):
            done = int(known["done"])
            _restore(payload, known.get("counted"))
            return done
    except FileNotFoundError:
        raise OutputError(f"{path} exists already; remove it or choose another output.") from None
    except (ValueError, KeyError, TypeError):
        pass  # torn while it was written: nothing of it can be relied on
    rmtree(path)
    return None


def _note(path: Path, what: str, payload: BigVolume | BigLabelMap, *, done: int) -> None:
    partial = path / f"{PROGRESS}.partial"
    partial.write_text(json.dumps({"what": what, "done": done, **_counted(payload)}), encoding="utf-8")
    partial.replace(path / PROGRESS)


def _counted(payload: BigVolume | BigLabelMap) -> dict[str, Any]:
    """What was counted of the blocks that are written, for a start that goes on with the next one."""
    counted = payload.voxels.counted if isinstance(payload.voxels, Computed) else None
    return {} if counted is None else {"counted": counted.state()}


def _restore(payload: BigVolume | BigLabelMap, state: Any) -> None:
    counted = payload.voxels.counted if isinstance(payload.voxels, Computed) else None
    if counted is not None and state is not None:
        counted.restore(state)


def _arrays(payload: BigVolume | BigLabelMap, path: Path, *, is_new: bool, version: Version) -> list[Any]:
    """The arrays of all levels, made where they are not there."""
    import zarr

    store = zarr.storage.LocalStore(path)
    group = zarr.create_group(store, zarr_format=3 if version == "0.5" else 2) if is_new else zarr.open_group(store)
    shape = list(payload.grid.shape)
    shapes = [tuple(shape)]
    while max(shape) > _LEAST:
        shape = [-(-size // 2) for size in shape]
        shapes.append(tuple(shape))
    return [_array(group, str(number), shape, payload, version=version) for number, shape in enumerate(shapes)]


def _array(group: Any, name: str, shape: Sequence[int], payload: BigVolume | BigLabelMap, *, version: Version) -> Any:
    if name in group:
        return group[name]
    channels = payload.voxels.shape[:1] if isinstance(payload, BigVolume) else ()
    chunks = tuple(min(chunk, size) for chunk, size in zip(_chunks(payload), shape, strict=True))
    of_version: dict[str, Any] = (
        {"dimension_names": [*("c" for _ in channels), "z", "y", "x"]}
        if version == "0.5"
        else {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    )
    return group.create_array(
        name,
        shape=(*channels, *shape[::-1]),
        chunks=(*(1 for _ in channels), *chunks[::-1]),
        dtype=payload.dtype,
        fill_value=0,
        config={"write_empty_chunks": isinstance(payload, BigVolume)},  # much of a label map is background
        **of_version,
    )


def _put(array: Any, region: Region, block: NDArray[Any]) -> None:
    """Write (C, i, j, k) at its place."""
    turned = block.transpose(0, 3, 2, 1)
    if array.ndim == 4:
        array[(slice(None), *region[::-1])] = turned
    else:
        array[region[::-1]] = turned[0]


def _method(payload: BigVolume | BigLabelMap) -> str:
    """How a level is made of the finer one: masks keep what is thin, label maps their values, images their mean."""
    if isinstance(payload, BigVolume):
        return "mean"
    return "max" if len(payload.labels) == 1 else "nearest"


def _coarsen(fine: Any, coarse: Any, *, method: str) -> None:
    """Make a level of the finer one, a layer of its chunks at a time along z and y."""
    lead = (slice(None),) * (coarse.ndim - 3)
    depth, rows = (min(coarse.chunks[axis], coarse.shape[axis]) for axis in (-3, -2))
    for z in range(0, coarse.shape[-3], depth):
        for y in range(0, coarse.shape[-2], rows):
            there = (slice(z, z + depth), slice(y, y + rows))
            here = (slice(2 * z, 2 * (z + depth)), slice(2 * y, 2 * (y + rows)))
            coarse[(*lead, *there)] = halved(np.asarray(fine[(*lead, *here)]), method=method)


def halved(array: NDArray[Any], *, method: str) -> NDArray[Any]:
    """One voxel of two along each of the last three axes: their mean, their maximum, or the first (nearest).

    Along an odd axis the last voxel stands for itself.
    """
    if method == "nearest":
        return array[..., ::2, ::2, ::2]
    odd = [(0, 0)] * (array.ndim - 3) + [(0, size % 2) for size in array.shape[-3:]]
    padded = np.pad(array, odd, mode="edge")
    *lead, z, y, x = padded.shape
    blocks = padded.reshape(*lead, z // 2, 2, y // 2, 2, x // 2, 2)
    if method == "max":
        return np.asarray(blocks.max(axis=(-1, -3, -5)))
    mean = blocks.mean(axis=(-1, -3, -5), dtype=np.float64 if array.dtype.itemsize > 4 else np.float32)
    return np.asarray(mean if array.dtype.kind == "f" else np.rint(mean)).astype(array.dtype)


def _describe(
    payload: BigVolume | BigLabelMap, path: Path, what: str, *, count: int, method: str, version: Version
) -> None:
    """Write the metadata that make it an image."""
    import zarr

    attributes = multiscale_attributes(
        payload.affine,
        name=path.name.removesuffix(".zarr").removesuffix(".ome"),
        channels=isinstance(payload, BigVolume),
        factors=[2**number for number in range(count)],
        method=method,
        version=version,
    )
    own: dict[str, Any] = {"affine": payload.affine.tolist(), "made_of": what, **_counted(payload)}
    if isinstance(payload, BigLabelMap):
        place = attributes["ome"] if version == "0.5" else attributes
        place["image-label"] = label_attributes(payload.labels, version=version)
        own[JSON_KEY] = labels_to_json(list(payload.labels))
    zarr.open_group(zarr.storage.LocalStore(path)).attrs.update({**attributes, OWN: own})

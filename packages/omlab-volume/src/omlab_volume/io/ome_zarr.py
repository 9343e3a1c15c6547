"""OME-Zarr (OME-NGFF 0.4 and 0.5: `.ome.zarr`, `.zarr`) by chunk, through zarr 3, an extra: `omlab-volume[big]`.

    brain = OmeZarr().read(Path("brain.ome.zarr"), kind="big-volume")
    OmeZarr().write(result, Path("axons.ome.zarr"))            # goes on where an earlier start was stopped

An array's axes z, y, x are the axes k, j, i of a payload; a channel axis becomes the channels. Nothing is read but
metadata until a region is asked for. Chunks that are not there hold the fill value, as the format says.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError, MissingDependencyError, OmlabWarning, OutputError, one_line
from omlab.payloads import Inputs, Payload
from omlab_volume.big.payloads import BigLabelMap, BigVolume
from omlab_volume.big.voxels import Region, Shape3, Shape4
from omlab_volume.io.ome_metadata import OWN, Multiscale, foreign_labels, read_multiscale
from omlab_volume.io.quiet import quiet
from omlab_volume.labels import JSON_KEY, Label, labels_from_json
from omlab_volume.volume import Source

SUFFIXES = (".zarr",)  # and so .ome.zarr
_METADATA = ("zarr.json", ".zgroup", ".zarray")


class OmeZarr:
    """Reads and writes big volumes and big label maps as OME-Zarr."""

    def read(self, path: Path, *, kind: str) -> BigVolume | BigLabelMap:
        """Open `path` as a `big-volume` or a `big-labelmap`; voxels are read when they are asked for.

        Raises:
            InputError: It is no OME-Zarr image of a volume; says what it is instead.
            GeometryError: Its voxel size cannot be.
            MissingDependencyError: zarr is not installed.
        """
        if kind not in ("big-volume", "big-labelmap"):
            raise InputError(f"{path}: OME-Zarr holds a big-volume or a big-labelmap, not a '{kind}'.")
        _check_folder(path)
        group = _opened_group(path)
        attributes = dict(group.attrs)
        image = read_multiscale(attributes, path=path)
        levels = [_level(group, name, image, path=path) for name in image.paths]
        source = Source(format="ome-zarr", paths=(path,), folder=path, meta={"version": image.version})
        if kind == "big-volume":
            _warn_of_absent_chunks(levels[0], path=path)
            return BigVolume(voxels=levels[0], levels=levels[1:], affine=image.affine, source=source)
        if levels[0].shape[0] != 1 or levels[0].dtype.kind not in "ui":
            raise InputError(
                f"{path} holds {levels[0].shape[0]} channels of {levels[0].dtype}: a label map has one, of unsigned "
                "integers; is it an image?"
            )
        return BigLabelMap(
            voxels=levels[0],
            levels=levels[1:],
            affine=image.affine,
            labels=_labels(attributes, path=path),
            source=source,
        )

    def write(self, payload: Payload, path: Path, *, inputs: Inputs = MappingProxyType({})) -> None:
        """Write a big volume or label map by chunk, with a pyramid; one that is computed is computed meanwhile.

        Where `path` holds what an earlier start left of a payload of the same grid and blocks, it goes on with the
        first block that is not there. Until it is whole the folder is no OME-Zarr image: its metadata come last.

        Raises:
            OutputError: It cannot be written, or something else is there.
            MissingDependencyError: zarr is not installed.
        """
        from omlab_volume.io.ome_zarr_write import write_store

        if not path.name.lower().endswith(SUFFIXES):
            raise OutputError(f"{path}: OME-Zarr folders end in .ome.zarr or .zarr; name it so.")
        if not isinstance(payload, BigVolume | BigLabelMap):
            raise OutputError(f"{path}: OME-Zarr holds a big-volume or a big-labelmap, not a '{payload.kind}'.")
        zarr_for(path)
        write_store(payload, path)


@dataclass(frozen=True, eq=False, kw_only=True)
class ZarrVoxels:
    """An array of a store as (C, I, J, K): `order` are its axes z, y and x, `channel` and `time` theirs or None."""

    array: Any
    path: Path
    order: Sequence[int]
    channel: int | None = None
    time: int | None = None

    @property
    def shape(self) -> Shape4:
        """(C, I, J, K)."""
        k, j, i = (int(self.array.shape[axis]) for axis in self.order)
        return 1 if self.channel is None else int(self.array.shape[self.channel]), i, j, k

    @property
    def dtype(self) -> np.dtype[Any]:
        """In native byte order."""
        kind: np.dtype[Any] = np.dtype(self.array.dtype).newbyteorder("=")
        return np.dtype(np.uint8) if kind.kind == "b" else kind

    @property
    def chunks(self) -> Shape3:
        """(i, j, k)."""
        k, j, i = (int(self.array.chunks[axis]) for axis in self.order)
        return i, j, k

    def read(self, region: Region) -> NDArray[Any]:
        """The voxels (C, i, j, k) of a region. Raises `InputError` where a chunk is damaged or may not be read."""
        selection: list[Any] = [slice(None)] * self.array.ndim
        for axis, part in zip(self.order, region[::-1], strict=True):
            selection[axis] = part
        if self.time is not None:
            selection[self.time] = slice(0, 1)
        try:
            found = np.asarray(self.array[tuple(selection)])
        except Exception as error:  # what a damaged chunk raises depends on its codec
            place = ", ".join(f"{part.start}:{part.stop}" for part in region[::-1])
            raise InputError(
                f"{self.path} cannot be read at z, y, x = {place} ({one_line(error)[:200]}): a chunk there is damaged, "
                "cut short or may not be read; copy it again."
            ) from error
        kept = [axis for axis in (self.channel, *self.order[::-1]) if axis is not None]
        others = [axis for axis in range(found.ndim) if axis not in kept]
        turned = found.transpose(*others, *kept)
        return turned.reshape(
            turned.shape[len(others) :] if self.channel is not None else (1, *turned.shape[-3:])
        ).astype(self.dtype, copy=False)


def _check_folder(path: Path) -> None:
    if not path.exists():
        raise InputError(f"{path} does not exist: check the path.")
    if not path.is_dir():
        raise InputError(f"{path} is a file, but an OME-Zarr image is a folder: unpack it, or name the folder.")
    if not os.access(path, os.R_OK | os.X_OK):
        raise InputError(f"{path} may not be read by this user: change its access rights.")
    present = [path / name for name in _METADATA if (path / name).exists()]
    if not present:
        raise InputError(
            f"{path} is no OME-Zarr image: it has neither zarr.json nor .zgroup; name the folder that has one, or a "
            "folder of TIFF slices."
        )
    for file in present:
        if not os.access(file, os.R_OK):
            raise InputError(f"{file} may not be read by this user: change its access rights.")


def zarr_for(path: Path) -> Any:
    """The library. Raises `MissingDependencyError` that names `path`."""
    try:
        import zarr
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"{path} needs zarr: install omlab-volume[big].") from error
    return zarr


def _opened_group(path: Path) -> Any:
    zarr = zarr_for(path)
    try:
        with quiet():
            node = zarr.open(store=zarr.storage.LocalStore(path, read_only=True), mode="r")
        attributes = dict(node.attrs)
    except Exception as error:  # of json, of zarr's own checks, of the system
        raise InputError(
            f"{path} has zarr metadata that cannot be read ({one_line(error)[:200]}): they are damaged or cut short."
        ) from error
    if not isinstance(node, zarr.Group):
        read_multiscale(attributes if "multiscales" not in attributes else {}, path=path)  # says what it lacks
    return node


def _level(group: Any, name: str, image: Multiscale, *, path: Path) -> ZarrVoxels:
    zarr = zarr_for(path)
    try:
        array = group[name]
    except KeyError:
        raise InputError(f"{path} names the level '{name}', which is not there: copy the folder again.") from None
    except Exception as error:
        raise InputError(
            f"{path} has a level '{name}' whose metadata cannot be read ({one_line(error)[:200]}): copy it again."
        ) from error
    if not isinstance(array, zarr.Array) or array.ndim != len(image.axes) or 0 in array.shape:
        found = f"shape {array.shape}" if isinstance(array, zarr.Array) else "no array"
        raise InputError(f"{path} has a level '{name}' of {found}, but its axes are {', '.join(image.axes)}.")
    if np.dtype(array.dtype).kind not in "uifb":
        raise InputError(f"{path} holds values of type {array.dtype}: an image of numbers is needed.")
    time = image.axes.index("t") if "t" in image.axes else None
    if time is not None and array.shape[time] != 1:
        raise InputError(f"{path} has {array.shape[time]} time points: a volume has one; save one of them by itself.")
    channel = image.axes.index("c") if "c" in image.axes else None
    return ZarrVoxels(
        array=array, path=path, order=[image.axes.index(axis) for axis in "zyx"], channel=channel, time=time
    )


def _labels(attributes: Mapping[str, Any], *, path: Path) -> tuple[Label, ...]:
    own = attributes.get(OWN)
    text = own.get(JSON_KEY) if isinstance(own, Mapping) else None
    return labels_from_json(text, what=str(path)) if isinstance(text, str) else foreign_labels(attributes)


def _warn_of_absent_chunks(level: ZarrVoxels, *, path: Path) -> None:
    try:
        there, all_of_them = level.array.nchunks_initialized, level.array.nchunks
    except Exception:  # no store has to be able to count
        return
    if 0 <= there < all_of_them:
        fill = level.array.fill_value
        warnings.warn(
            f"{path}: {all_of_them - there:,} of {all_of_them:,} chunks are not there; they are read as {fill}.",
            OmlabWarning,
            stacklevel=4,
        )

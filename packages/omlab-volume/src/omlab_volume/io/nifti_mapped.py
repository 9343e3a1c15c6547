"""Uncompressed NIfTI as a big volume: mapped into memory and read by region."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError
from omlab_volume.big.payloads import BigLabelMap, BigVolume
from omlab_volume.big.voxels import Region, Shape3, Shape4
from omlab_volume.io import nifti_header
from omlab_volume.io.nifti import four_axes, opened
from omlab_volume.volume import Source


class NiftiMapped:
    """Reads big volumes and big label maps from `.nii`."""

    def read(self, path: Path, *, kind: str) -> BigVolume | BigLabelMap:
        """Open `path` as a `big-volume` or `big-labelmap`. Raises `InputError` and `GeometryError`."""
        if kind not in ("big-volume", "big-labelmap"):
            raise InputError(f"{path}: a mapped NIfTI holds a big-volume or a big-labelmap, not a '{kind}'.")
        if path.name.lower().endswith(".gz"):
            raise InputError(f"{path} is compressed, so that it cannot be read by region: unpack it to .nii.")
        image = opened(path)
        header = image.header
        shape = four_axes(header.get_data_shape(), path=path)
        affine = nifti_header.read_affine(header, shape=shape[:3], path=path)
        slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
        mapped = np.memmap(path, header.get_data_dtype(), "r", image.dataobj.offset, shape, order="F")
        voxels = MappedVoxels(array=mapped, slope=slope, intercept=intercept)
        source = Source(format="nifti-mapped", paths=(path,))
        if kind == "big-volume":
            return BigVolume(voxels=voxels, affine=affine, source=source)
        if voxels.dtype.kind != "u":
            raise InputError(f"{path} holds {voxels.dtype}: a big label map is of unsigned integers, without a scale.")
        labels = nifti_header.read_labels(header, path=path)
        return BigLabelMap(voxels=voxels, affine=affine, labels=labels, source=source)


@dataclass(frozen=True, eq=False, kw_only=True)
class MappedVoxels:
    """A mapped `array` (I, J, K, C), scaled where the header says so."""

    array: NDArray[Any]
    slope: float
    intercept: float

    @property
    def is_scaled(self) -> bool:
        """Whether what is read is not what is stored."""
        return (self.slope, self.intercept) != (1.0, 0.0)

    @property
    def shape(self) -> Shape4:
        """(C, I, J, K)."""
        i, j, k, c = self.array.shape
        return c, i, j, k

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 where it is scaled, else as stored."""
        return np.dtype(np.float32) if self.is_scaled else self.array.dtype.newbyteorder("=")

    @property
    def chunks(self) -> Shape3:
        """A slice across k, which lies in one piece."""
        return self.array.shape[0], self.array.shape[1], 1

    def read(self, region: Region) -> NDArray[Any]:
        """The voxels (C, i, j, k) of a region."""
        found = np.array(self.array[region]).transpose(3, 0, 1, 2)
        if self.is_scaled:
            return found.astype(np.float32) * np.float32(self.slope) + np.float32(self.intercept)
        return found.astype(self.dtype, copy=False)

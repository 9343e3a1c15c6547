"""What a NIfTI header says: where its voxels lie, the names of its labels, and whether the file can hold them.

Source: the NIfTI-1 standard (nifti1.h, "3D image (volume) orientation and location in space").
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from omlab.errors import GeometryError, GeometryWarning, InputError
from omlab_volume.geometry import largest_gap
from omlab_volume.labels import labels_from_json, labels_to_json
from omlab_volume.volume import Label

_MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # unknown (taken as mm), metre, mm, micrometre
_SPATIAL_UNIT = 0x07
_COMMENT = 6  # code of an extension that holds plain text
_HIGHEST_DEFLATE_RATIO = 1040  # deflate cannot expand one byte to more than 1032
MM = 2


def read_affine(header: Any, *, shape: tuple[int, int, int], path: Path) -> NDArray[np.float64]:
    """The affine in mm, RAS+: the sform where its code is set, else the qform, else from the voxel sizes.

    Warns with `GeometryWarning` where the first two disagree by more than a tenth of a voxel, where the sform is
    singular and the qform is used, and where the header says nothing but sizes. Raises `GeometryError`.
    """
    scale = np.diag([*(3 * [_MM_PER_UNIT.get(int(header["xyzt_units"]) & _SPATIAL_UNIT, 1.0)]), 1.0])
    sform: NDArray[np.float64] | None = scale @ header.get_sform() if header["sform_code"] > 0 else None
    qform = _read_qform(header, scale=scale, path=path) if header["qform_code"] > 0 else None
    if sform is not None and not _is_regular(sform):
        if qform is None or not _is_regular(qform):
            raise GeometryError(f"{path} says that its voxels have no extent (singular affine {sform[:3].tolist()}).")
        _warn(f"{path} has a singular sform; its qform is used.")
        sform = None
    if sform is not None:
        if (
            qform is not None
            and largest_gap(sform, qform, shape=shape) > 0.1 * np.linalg.norm(sform[:3, :3], axis=0).min()
        ):
            gap = largest_gap(sform, qform, shape=shape)
            _warn(f"{path}: sform and qform disagree by up to {gap:.3g} mm; the sform is used.")
        return sform
    if qform is not None:
        return qform
    _warn(f"{path} says neither by sform nor by qform where it lies; the voxel sizes alone are used, centred on 0.")
    # nibabel's reading of such files, so that other tools built on it see the same position
    base: NDArray[np.float64] = scale @ header.get_base_affine()
    if not _is_regular(base):
        raise GeometryError(f"{path} gives voxel sizes of {header['pixdim'][1:4].tolist()}: none of them may be 0.")
    return base


def _read_qform(header: Any, *, scale: NDArray[np.float64], path: Path) -> NDArray[np.float64] | None:
    try:
        qform: NDArray[np.float64] = scale @ header.get_qform()
    except (ValueError, nib.spatialimages.HeaderDataError):
        _warn(f"{path} has a qform that is no rotation; it is ignored.")
        return None
    return qform


def _is_regular(affine: NDArray[np.float64]) -> bool:
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or lengths.min() <= 0:
        return False
    return bool(abs(np.linalg.det(affine[:3, :3] / lengths)) > 1e-6)


def _warn(message: str) -> None:
    warnings.warn(message, GeometryWarning, stacklevel=4)


def set_affine(header: Any, *, affine: NDArray[np.float64], sform_code: int, qform_code: int) -> None:
    """Write the affine as sform and, where it can hold it (no shear), as qform; units are mm."""
    header.set_xyzt_units(MM)
    header.set_sform(affine, code=sform_code)
    header.set_qform(affine, code=qform_code, strip_shears=True)
    shape = (*header.get_data_shape(), 1, 1, 1)[:3]
    if largest_gap(header.get_qform(), header.get_sform(), shape=shape) > 0.01 * min(header.get_zooms()[:3]):
        header.set_qform(affine, code=0, strip_shears=True)


def add_labels(header: Any, *, labels: list[Label]) -> None:
    """Keep names, colours and codes of the labels in the file: JSON in a comment extension."""
    if labels:
        header.extensions.append(nib.nifti1.Nifti1Extension(_COMMENT, labels_to_json(labels).encode("utf-8")))


def read_labels(header: Any, *, path: Path) -> tuple[Label, ...]:
    """The labels that `add_labels` put there; none in a file of another writer."""
    for extension in header.extensions:
        if extension.get_code() == _COMMENT:
            content = extension.get_content()
            text = content.decode("utf-8", errors="replace") if isinstance(content, bytes) else str(content)
            if found := labels_from_json(text, what=str(path)):
                return found
    return ()


def check_size(header: Any, *, offset: int, path: Path, size: int) -> None:
    """Raise `InputError` where the file of `size` bytes cannot hold what its header announces from `offset` on.

    Asked before memory is allocated, so that a damaged header cannot take all of it.
    """
    shape = tuple(int(n) for n in header.get_data_shape())
    if not shape or min(shape) < 1:
        raise InputError(f"{path} holds no voxels: its header gives the shape {shape}.")
    wanted = int(np.prod(shape, dtype=object)) * header.get_data_dtype().itemsize
    if not path.name.lower().endswith(".gz"):
        if offset + wanted > size:
            raise InputError(
                f"{path} is cut short: its header announces {wanted:,} bytes of voxels {shape}, "
                f"the file has {size:,}; copy it again."
            )
    elif wanted > size * _HIGHEST_DEFLATE_RATIO:
        raise InputError(
            f"{path} is damaged: its header announces {wanted:,} bytes of voxels {shape}, "
            f"which a compressed file of {size:,} bytes cannot hold."
        )

"""Displacement fields as NIfTI (.nii, .nii.gz), as ITK and ANTs write and read them.

The fifth axis holds x, y, z in mm of LPS+, the intent is 'vector'; the payload's are of RAS+.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

import nibabel as nib
import numpy as np

from omlab.errors import InputError, OutputError
from omlab.payloads import Inputs, Payload
from omlab_volume.io.nifti import Nifti
from omlab_volume.io.nifti_header import set_affine
from omlab_volume.io.paths import written
from omlab_volume.io.quiet import quiet
from omlab_volume.registration import Transform

_nifti1: Any = nib.nifti1  # nibabel's functions are not typed
_VECTOR = 1007
_SCANNER = 1
_LPS = np.array([-1, -1, 1], np.float32).reshape(3, 1, 1, 1)


class Displacement:
    """Reads and writes transforms."""

    def read(self, path: Path, *, kind: str) -> Transform:
        """Read a field of three components. Raises `InputError`."""
        volume = Nifti().read(path, kind="volume")
        array = np.asarray(volume.array, np.float32)
        if array.shape[0] != 3:
            raise InputError(f"{path} has {array.shape[0]} components a voxel: a displacement field has three, in mm.")
        return Transform(displacement=array * _LPS, affine=volume.affine, source=volume.source)

    def write(self, payload: Payload, path: Path, *, inputs: Inputs = MappingProxyType({})) -> None:
        """Write a transform. Raises `OutputError`."""
        if not isinstance(payload, Transform) or not path.name.lower().endswith((".nii", ".nii.gz")):
            raise OutputError(f"{path}: a displacement field is a 'transform' in a file .nii or .nii.gz.")
        array = np.moveaxis(payload.displacement * _LPS, 0, -1)[:, :, :, None]
        header = _nifti1.Nifti1Header()
        header.set_data_dtype(np.float32)
        header.set_data_shape(array.shape)
        header.set_intent(_VECTOR)
        set_affine(header, affine=payload.affine, sform_code=_SCANNER, qform_code=_SCANNER)
        with quiet(), written(path):
            nib.save(_nifti1.Nifti1Image(array, None, header=header), path)

"""Transforms: what they say of places, and files that keep them."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from omlab.errors import GeometryError, InputError
from omlab_volume.io.displacement import Displacement
from omlab_volume.io.nifti import Nifti
from omlab_volume.registration import Registration, Transform
from omlab_volume.testing import example_labelmaps, example_transforms, example_volumes


@pytest.mark.parametrize("n", range(3))
def test_no_displacement_changes_nothing(n: int) -> None:
    volume, labels = example_volumes()[n], example_labelmaps()[n]
    still = Transform(displacement=np.zeros((3, *volume.grid.shape), np.float32), affine=volume.affine)
    assert np.allclose(still.apply(volume).array, volume.array, atol=0.5)
    assert np.array_equal(still.apply_labels(labels).array, labels.array)


@pytest.mark.parametrize("n", range(3))
def test_a_displacement_of_one_voxel_takes_the_neighbour(n: int) -> None:
    labels = example_labelmaps()[n]
    step = labels.affine[:3, 0].astype(np.float32).reshape(3, 1, 1, 1)
    field = np.broadcast_to(step, (3, *labels.grid.shape)).copy()
    moved = Transform(displacement=field, affine=labels.affine).apply_labels(labels)
    assert np.array_equal(moved.array[:-1], labels.array[1:])
    assert not moved.array[-1].any()


def test_files_keep_a_transform_in_the_convention_of_itk(tmp_path: Path) -> None:
    for n, transform in enumerate(example_transforms()):
        path = tmp_path / f"{n}.nii.gz"
        Displacement().write(transform, path)
        image = nib.load(path)
        assert image.shape == (*transform.grid.shape, 1, 3)
        assert int(image.header["intent_code"]) == 1007
        assert np.allclose(image.get_fdata()[..., 0, 0], -transform.displacement[0])
        back = Displacement().read(path, kind="transform")
        assert back.same_grid(transform)
        assert np.array_equal(back.displacement, transform.displacement)


def test_other_files_and_shapes_are_refused(tmp_path: Path) -> None:
    volume = example_volumes()[0]
    Nifti().write(volume, tmp_path / "ct.nii.gz")
    with pytest.raises(InputError, match="1 components"):
        Displacement().read(tmp_path / "ct.nii.gz", kind="transform")
    with pytest.raises(GeometryError, match="3, I, J, K"):
        Transform(displacement=volume.array.astype(np.float32), affine=volume.affine)


def test_parts_of_a_registration() -> None:
    volume, transform = example_volumes()[0], example_transforms()[0]
    assert list(Registration(warped=volume, transform=transform).parts()) == ["warped", "transform"]

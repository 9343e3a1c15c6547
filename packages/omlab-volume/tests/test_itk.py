"""NRRD and MetaImage: the same promises as NIfTI, or the extra is named."""

from __future__ import annotations

import builtins
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (the library's own abbreviation)

from omlab.errors import InputError, MissingDependencyError, OmlabWarning, OutputError
from omlab_volume.io.itk import Mha, Nrrd
from omlab_volume.labels import labels_from_names
from omlab_volume.volume import LabelMap, Volume

FORMATS = [(Nrrd(), "nrrd"), (Mha(), "mha")]
AFFINE = np.array([[0, -1, 0.2, 5], [1.5, 0, 0, 2], [0, 0.2, -2, 1], [0, 0, 0, 1.0]])


@pytest.mark.parametrize(("format", "suffix"), FORMATS)
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_every_axis_order_and_flip_comes_back(tmp_path: Path, format: Any, suffix: str, order: tuple[int, ...]) -> None:
    array = np.arange(2 * 3 * 4, dtype=np.int16).reshape(1, 2, 3, 4)
    for flips in product((1, -1), repeat=3):
        affine = np.eye(4)
        affine[:3, :3] = np.eye(3)[:, list(order)] * np.array(flips) * np.array([0.75, 1.5, 3.0])
        affine[:3, 3] = (-100.25, 37.5, 12.0)
        path = tmp_path / f"v.{suffix}"
        format.write(Volume(array=array, affine=affine), path)
        again = format.read(path, kind="volume")
        assert np.allclose(again.affine, affine, atol=1e-9)
        assert np.array_equal(again.array, array)


@pytest.mark.parametrize(("format", "suffix"), FORMATS)
def test_positions_are_those_that_itk_says(tmp_path: Path, format: Any, suffix: str) -> None:
    path = tmp_path / f"v.{suffix}"
    format.write(Volume(array=np.zeros((1, 4, 5, 6), np.float32), affine=AFFINE), path)
    image = sitk.ReadImage(str(path))
    left, posterior, superior = image.TransformIndexToPhysicalPoint((1, 2, 3))
    assert np.allclose(AFFINE @ [1, 2, 3, 1], [-left, -posterior, superior, 1])


@pytest.mark.parametrize(("format", "suffix"), FORMATS)
def test_channels_and_labels_come_back(tmp_path: Path, format: Any, suffix: str) -> None:
    path = tmp_path / f"v.{suffix}"
    volume = Volume(array=np.random.default_rng(0).normal(size=(3, 4, 5, 6)).astype(np.float32), affine=AFFINE)
    format.write(volume, path)
    assert np.array_equal(format.read(path, kind="volume").array, volume.array)
    with pytest.raises(InputError, match="3 channels"):
        format.read(path, kind="labelmap")
    labels = tuple(labels_from_names(["left lung", 'ö "quoted" \\ := x']))
    array = np.arange(120).reshape(4, 5, 6) * 3
    format.write(LabelMap(array=array, affine=AFFINE, labels=labels), path)
    again = format.read(path, kind="labelmap")
    assert again.labels == labels
    assert again.array.dtype == np.uint16
    assert np.array_equal(again.array, array)


@pytest.mark.parametrize(("format", "suffix"), FORMATS)
def test_four_axes_are_channels(tmp_path: Path, format: Any, suffix: str) -> None:
    path = tmp_path / f"v.{suffix}"
    array = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(5, 4, 3, 2)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=False), str(path))
    assert np.array_equal(format.read(path, kind="volume").array, array.transpose(0, 3, 2, 1))


@pytest.mark.parametrize(("format", "suffix"), FORMATS)
def test_damaged_files_are_refused(tmp_path: Path, format: Any, suffix: str) -> None:
    path = tmp_path / f"v.{suffix}"
    format.write(Volume(array=np.random.default_rng(0).normal(size=(1, 9, 9, 9)), affine=AFFINE), path)
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], content[:40], b"hello world"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=f"cannot be read as {suffix}") as caught:
            format.read(path, kind="volume")
        assert "\n" not in str(caught.value)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        format.read(path, kind="volume")
    with pytest.raises(InputError, match="does not exist"):
        format.read(tmp_path / f"none.{suffix}", kind="volume")


@pytest.mark.parametrize(("format", "suffix"), FORMATS)
def test_other_images_are_refused(tmp_path: Path, format: Any, suffix: str) -> None:
    path = tmp_path / f"v.{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5), np.uint8)), str(path))
    with pytest.raises(InputError, match="has 2 axes"):
        format.read(path, kind="volume")
    sitk.WriteImage(sitk.GetImageFromArray(np.full((2, 2, 2), np.nan, np.float32)), str(path))
    with pytest.warns(OmlabWarning, match="8 of 8 voxels are NaN"):
        format.read(path, kind="volume")
    with pytest.raises(InputError, match="NaN or infinite"):
        format.read(path, kind="labelmap")
    with pytest.raises(OutputError, match="files end in"):
        format.write(Volume(array=np.zeros((1, 2, 2, 2)), affine=np.eye(4)), tmp_path / "v.nii")
    with pytest.raises(OutputError, match="cannot be written"):
        format.write(Volume(array=np.zeros((1, 2, 2, 2)), affine=np.eye(4)), tmp_path / "none" / f"v.{suffix}")


def test_without_simpleitk_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "SimpleITK":
            raise ModuleNotFoundError("No module named 'SimpleITK'", name="SimpleITK")
        return real(name, *args, **kwargs)

    (tmp_path / "v.nrrd").write_bytes(b"NRRD0004\n")
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingDependencyError, match=r"omlab-volume\[itk\]"):
        Nrrd().read(tmp_path / "v.nrrd", kind="volume")

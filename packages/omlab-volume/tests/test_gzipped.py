"""NIfTI files hold the bytes that nibabel writes, and damage is said the same way."""

from __future__ import annotations

import gzip
from io import BytesIO
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from omlab.errors import InputError
from omlab_volume.io import nifti
from omlab_volume.io.nifti import Nifti
from omlab_volume.labels import labels_from_names
from omlab_volume.volume import LabelMap, Volume


def _array(dtype: str, order: str, shape: tuple[int, ...]) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    return np.asarray(values, order=order)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["i2", ">i2", "f4", "u1"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("at_once", [1, 200, 1 << 22])
def test_the_bytes_are_those_that_nibabel_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str, dtype: str, channels: int, at_once: int
) -> None:
    monkeypatch.setattr(nifti, "_WRITTEN_AT_ONCE", at_once)
    array = _array(dtype, order, (channels, 5, 4, 7))
    volume = Volume(array=array, affine=np.diag([0.5, 1.5, 3.0, 1]))
    Nifti().write(volume, tmp_path / "a.nii")
    Nifti().write(volume, tmp_path / "a.nii.gz")
    header = nifti._header(array[0] if channels == 1 else np.moveaxis(array, 0, 3), volume)
    expected = nib.Nifti1Image(np.moveaxis(array, 0, 3).squeeze(), None, header=header).to_bytes()
    assert (tmp_path / "a.nii").read_bytes() == expected
    assert gzip.decompress((tmp_path / "a.nii.gz").read_bytes()) == expected
    again = Nifti().read(tmp_path / "a.nii.gz", kind="volume")
    assert np.array_equal(again.array, array)


def test_extensions_come_before_the_voxels(tmp_path: Path) -> None:
    labels = labels_from_names(["liver", "a name long enough for a second block"])
    array = _array("u1", "C", (4, 5, 6)) % 3
    Nifti().write(LabelMap(array=array, affine=np.eye(4), labels=labels), tmp_path / "a.nii.gz")
    image = nib.load(tmp_path / "a.nii.gz")
    assert image.dataobj.offset > 352
    assert np.array_equal(np.asarray(image.dataobj), array)
    assert nib.Nifti1Image.from_stream(BytesIO(image.to_bytes())).header == image.header


def test_damage_is_said_wherever_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    Nifti().write(Volume(array=_array("i2", "F", (1, 40, 40, 40)), affine=np.eye(4)), path)
    whole = path.read_bytes()
    wrong_sum = bytearray(whole)
    wrong_sum[-7] ^= 1
    wrong_length = bytearray(whole)
    wrong_length[-1] ^= 1
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    for damaged in (wrong_sum, wrong_length, flipped, whole[:-9], whole[:-3], whole[: len(whole) // 2], whole[:40]):
        path.write_bytes(bytes(damaged))
        with pytest.raises(InputError, match=r"a\.nii\.gz is damaged or cut short: .*; copy it again\.$"):
            Nifti().read(path, kind="volume")


def test_several_members_are_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    array = _array("i2", "F", (1, 12, 11, 10))
    Nifti().write(Volume(array=array, affine=np.eye(4)), path)
    plain = path.read_bytes()
    parts = [plain[:100], plain[100:900], plain[900:]]
    (tmp_path / "b.nii.gz").write_bytes(b"".join(gzip.compress(part) for part in parts))
    assert np.array_equal(Nifti().read(tmp_path / "b.nii.gz", kind="volume").array, array)

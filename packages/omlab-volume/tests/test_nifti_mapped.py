import numpy as np
import pytest

import omlab
from omlab.errors import InputError
from omlab_volume.testing import example_labelmaps, example_volumes


@pytest.mark.parametrize("number", [0, 1, 2])
def test_as_in_memory(tmp_path, number):
    omlab.write(example_volumes(channels=2)[number], tmp_path / "a.nii")
    omlab.write(example_labelmaps()[number], tmp_path / "b.nii")
    for kind, name in (("volume", "a.nii"), ("labelmap", "b.nii")):
        held, mapped = omlab.read(tmp_path / name, kind=kind), omlab.read(tmp_path / name, kind=f"big-{kind}")
        assert np.array_equal(mapped.loaded().array, held.array)
        assert mapped.same_grid(held)
        assert mapped.nbytes < 1000
    assert [label.name for label in mapped.labels] == ["organ", "bone"]


def test_scaled(tmp_path):
    import nibabel as nib

    stored = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    image = nib.Nifti1Image(stored, np.eye(4))
    image.header.set_slope_inter(2.0, -5.0)
    image.header["scl_slope"] = 2.0
    nib.save(image, tmp_path / "a.nii")
    held = omlab.read(tmp_path / "a.nii", kind="volume")
    mapped = omlab.read(tmp_path / "a.nii", kind="big-volume")
    assert np.array_equal(mapped.loaded().array, held.array)
    with pytest.raises(InputError, match="unsigned integers, without a scale"):
        omlab.read(tmp_path / "a.nii", kind="big-labelmap") if mapped.dtype.kind == "f" else pytest.fail("not scaled")


def test_compressed_files_are_not_mapped(tmp_path):
    omlab.write(example_volumes()[0], tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match=r"a.nii.gz is (read as|compressed)"):
        omlab.read(tmp_path / "a.nii.gz", kind="big-volume")


def test_cut_short(tmp_path):
    omlab.write(example_volumes()[0], tmp_path / "a.nii")
    (tmp_path / "a.nii").write_bytes((tmp_path / "a.nii").read_bytes()[:-100])
    with pytest.raises(InputError, match=r"a.nii"):
        omlab.read(tmp_path / "a.nii", kind="big-volume")

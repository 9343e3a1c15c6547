import os
import sys
import warnings

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

import omlab
from omlab.errors import GeometryWarning, InputError, MissingDependencyError, OmlabWarning, SettingsError
from omlab.formats import read_format
from omlab_volume.io.tiff_stack import TiffStack, natural_key

UM = [4.0, 2.0, 3.0]


def stack(folder, *, shape=(12, 6, 8), dtype="uint16", name="z{}.tif", start=0, **how):
    """A folder of slices (z, y, x), their names without leading zeros."""
    folder.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    for number, plane in enumerate(array):
        tifffile.imwrite(folder / name.format(number + start), plane, **how)
    return array


def read(path, kind="big-volume", spacing=UM):
    return TiffStack().read(path, kind=kind, spacing=spacing)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}, {"byteorder": ">"}, {"rowsperstrip": 2}])
def test_slices_in_the_order_of_their_numbers(tmp_path, dtype, how):
    array = stack(tmp_path / "brain", dtype=dtype, **how)
    (tmp_path / "brain" / "notes.txt").write_text("not a slice")
    (tmp_path / "brain" / "._z0.tif").write_text("of a Mac")
    found = read(tmp_path / "brain")
    assert found.grid.shape == (8, 6, 12)
    assert np.allclose(found.spacing, [0.004, 0.002, 0.003])
    assert found.dtype == np.dtype(dtype)
    assert np.array_equal(found.loaded().array[0], array.transpose(2, 1, 0))
    region = (slice(1, 4), slice(2, 3), slice(9, 12))
    assert np.array_equal(found.read(region)[0], array[9:12, 2:3, 1:4].transpose(2, 1, 0))


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"bigtiff": True},
        {"compression": "zlib"},
        {"imagej": True},
        {"ome": True},
        {"ome": True, "compression": "zlib"},
        {"tile": (16, 16)},
    ],
)
def test_many_pages(tmp_path, how):
    array = np.random.default_rng(0).integers(0, 9, (5, 6, 8)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", array, metadata={"axes": "ZYX"}, **how)
    found = read(tmp_path / "a.tif")
    assert np.array_equal(found.loaded().array[0], array.transpose(2, 1, 0))
    assert np.array_equal(
        found.read((slice(1, 2), slice(3, 6), slice(4, 5)))[0], array[4:5, 3:6, 1:2].transpose(2, 1, 0)
    )


@pytest.mark.parametrize("axes", ["CZYX", "ZCYX"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_channels(tmp_path, axes, compression):
    array = np.random.default_rng(0).integers(0, 9, (2, 3, 6, 8)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", array, ome=True, metadata={"axes": axes}, compression=compression)
    found = read(tmp_path / "a.tif").loaded().array
    channels_first = array if axes == "CZYX" else array.transpose(1, 0, 2, 3)
    assert np.array_equal(found, channels_first.transpose(0, 3, 2, 1))


@given(st.lists(st.integers(0, 10**6), unique=True, min_size=1, max_size=20))
@settings(max_examples=40, deadline=None)
def test_natural_order(numbers):
    names = sorted((f"Slice {n} of brain.TIF" for n in numbers), key=natural_key)
    assert names == [f"Slice {n} of brain.TIF" for n in sorted(numbers)]


def test_spacing_that_files_say(tmp_path):
    array = np.zeros((3, 4, 5), np.uint16)
    ome = {"axes": "ZYX", "PhysicalSizeX": 4.06, "PhysicalSizeY": 4.06, "PhysicalSizeZ": 3.0}
    tifffile.imwrite(tmp_path / "ome.tif", array, ome=True, metadata=ome)
    facts = {"spacing": 3.0, "unit": "um", "axes": "ZYX"}
    tifffile.imwrite(tmp_path / "imagej.tif", array, imagej=True, resolution=(0.25, 0.5), metadata=facts)
    assert np.allclose(read(tmp_path / "ome.tif", spacing=()).spacing, [0.00406, 0.00406, 0.003])
    assert np.allclose(read(tmp_path / "imagej.tif", spacing=()).spacing, [0.004, 0.002, 0.003])
    stack(tmp_path / "cm", resolution=(2500, 5000), resolutionunit="CENTIMETER")
    with pytest.warns(GeometryWarning, match="voxel size along z: taken as 1 micrometre; give it with -s read.spacing"):
        assert np.allclose(read(tmp_path / "cm", spacing=()).spacing, [0.004, 0.002, 0.001])
    stack(tmp_path / "silent")
    with pytest.warns(GeometryWarning, match="along x, y, z"):
        assert np.allclose(read(tmp_path / "silent", spacing=()).spacing, [0.001] * 3)


@pytest.mark.parametrize("spacing", [[1, 2], [0, 1, 1], [-1, 1, 1], ["a", 1, 1], [float("inf"), 1, 1]])
def test_spacing_that_cannot_be(tmp_path, spacing):
    stack(tmp_path / "a")
    with pytest.raises(SettingsError, match="spacing is a voxel size x,y,z in micrometre"):
        read(tmp_path / "a", spacing=spacing)


def test_a_gap_in_the_numbers_is_said(tmp_path):
    stack(tmp_path / "a", start=1)
    (tmp_path / "a" / "z5.tif").unlink()
    with pytest.warns(OmlabWarning, match="1 gaps in the numbers of its slices, the first after 4"):
        assert read(tmp_path / "a").grid.shape[2] == 11


def test_every_second_number_is_no_gap(tmp_path):
    stack(tmp_path / "a")
    for number in range(1, 12, 2):
        (tmp_path / "a" / f"z{number}.tif").unlink()
    assert read(tmp_path / "a").grid.shape[2] == 6


def test_a_slice_of_another_size(tmp_path):
    stack(tmp_path / "a")
    tifffile.imwrite(tmp_path / "a" / "z3.tif", np.zeros((6, 9), np.uint16))
    found = read(tmp_path / "a")
    assert found.read((slice(0, 1), slice(0, 1), slice(0, 3))).shape == (1, 1, 1, 3)
    with pytest.raises(InputError, match=r"z3.tif has 9 x 6 voxels of uint16, but the first slice has 8 x 6"):
        found.loaded()


@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}])
def test_a_slice_that_is_cut_short(tmp_path, how):
    stack(tmp_path / "a", **how)
    file = tmp_path / "a" / "z4.tif"
    file.write_bytes(file.read_bytes()[:-60])
    found = read(tmp_path / "a")
    warnings.simplefilter("ignore")  # tifffile's own
    with pytest.raises(InputError, match=r"z4.tif (is cut short|cannot be read as TIFF)"):
        found.loaded()


def test_what_is_no_stack(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no TIFF slices"):
        read(tmp_path / "empty")
    (tmp_path / "text.tif").write_text("not a TIFF at all")
    with pytest.raises(InputError, match=r"cannot be read as TIFF .*: it is damaged, cut short or no TIFF file"):
        read(tmp_path / "text.tif")
    tifffile.imwrite(tmp_path / "colour.tif", np.zeros((4, 5, 3), np.uint8), photometric="rgb")
    with pytest.raises(InputError, match="is a colour image"):
        read(tmp_path / "colour.tif")
    tifffile.imwrite(tmp_path / "time.tif", np.zeros((2, 3, 4, 5), np.uint8), ome=True, metadata={"axes": "TZYX"})
    with pytest.raises(InputError, match="axes TZYX"):
        read(tmp_path / "time.tif")
    (tmp_path / "cubes").mkdir()
    for number in range(2):
        cube = np.zeros((3, 4, 5), np.uint8)
        tifffile.imwrite(tmp_path / "cubes" / f"{number}.tif", cube, photometric="minisblack")
    with pytest.raises(InputError, match=r"0.tif has 3 pages, but a folder holds one slice a file"):
        read(tmp_path / "cubes")
    tifffile.imwrite(tmp_path / "double.tif", np.zeros((4, 5), np.float64))
    with pytest.raises(InputError, match="values of float64"):
        read(tmp_path / "double.tif")


def test_masks(tmp_path):
    array = stack(tmp_path / "a", dtype="uint8")
    assert np.array_equal(read(tmp_path / "a", "big-labelmap").loaded().array, array.transpose(2, 1, 0))
    stack(tmp_path / "b", dtype="float32")
    with pytest.raises(InputError, match="of unsigned integers"):
        read(tmp_path / "b", "big-labelmap")


def test_found_by_what_a_folder_holds(tmp_path):
    stack(tmp_path / "brain")
    assert read_format(tmp_path / "brain", "big-volume").name == "tiff-stack"
    found = omlab.read(tmp_path / "brain", kind="big-volume", spacing=UM)
    assert found.name == "brain"


def test_no_rights(tmp_path):
    stack(tmp_path / "a")
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (tmp_path / "a" / "z0.tif").chmod(0)
    with pytest.raises(InputError, match="may not be read"):
        read(tmp_path / "a")


def test_without_tifffile(tmp_path, monkeypatch):
    stack(tmp_path / "a")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(MissingDependencyError, match=r"install omlab-volume\[big\]"):
        read(tmp_path / "a")

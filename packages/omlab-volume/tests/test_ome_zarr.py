import json
import os
import warnings
from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import omlab
from omlab.errors import GeometryError, GeometryWarning, InputError, OmlabWarning, OutputError
from omlab_volume.big.payloads import BigLabelMap, BigVolume, big
from omlab_volume.big.voxels import Computed, Held, tiles
from omlab_volume.io.ome_zarr import OmeZarr
from omlab_volume.io.ome_zarr_write import PROGRESS, halved, write_store
from omlab_volume.labels import Label
from omlab_volume.testing import example_labelmaps, example_volumes

AXES = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]


def image(*, axes=AXES, scale=(3, 2, 1), version="0.4", paths=("0",), extra=(), **facts):
    """The metadata of an image."""
    transforms = [{"type": "scale", "scale": list(scale)}, *extra]
    datasets = [{"path": path, "coordinateTransformations": transforms} for path in paths]
    row = {"axes": axes, "datasets": datasets, **facts}
    if version == "0.4":
        return {"multiscales": [{"version": version, **row}]}
    return {"ome": {"version": version, "multiscales": [row]}}


def store(path, attributes, *, shape=(4, 6, 8), chunks=None, zarr_format=2, dtype="uint16", arrays=("0",)):
    """An OME-Zarr image as another program writes it."""
    group = zarr.create_group(zarr.storage.LocalStore(path), zarr_format=zarr_format, attributes=attributes)
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    for name in arrays:
        group.create_array(name, data=array, chunks=chunks or shape)
    return array


def read(path, kind="big-volume"):
    return omlab.read(path, kind=kind)


@pytest.mark.parametrize(("version", "zarr_format"), [("0.4", 2), ("0.5", 3)])
def test_reads_what_others_write(tmp_path, version, zarr_format):
    move = {"type": "translation", "translation": [30, 20, 10]}
    array = store(tmp_path / "a.zarr", image(version=version, extra=[move]), zarr_format=zarr_format, chunks=(2, 3, 8))
    found = read(tmp_path / "a.zarr")
    assert found.grid.shape == (8, 6, 4)
    assert np.allclose(found.affine[:3, 3], [0.010, 0.020, 0.030])
    assert np.allclose(found.spacing, [0.001, 0.002, 0.003])
    assert found.chunks == (8, 3, 2)
    assert np.array_equal(found.loaded().array[0], array.T)
    assert np.array_equal(found.read((slice(1, 3), slice(2, 6), slice(3, 4)))[0], array[3:4, 2:6, 1:3].T)


def test_channels_and_one_time_point(tmp_path):
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}, *AXES]
    array = store(tmp_path / "a.zarr", image(axes=axes, scale=(1, 1, 3, 2, 1)), shape=(1, 2, 4, 6, 8))
    found = read(tmp_path / "a.zarr")
    assert found.channels == 2
    assert np.array_equal(found.loaded().array, array[0].transpose(0, 3, 2, 1))


def test_axes_in_another_order(tmp_path):
    axes = [AXES[2], AXES[0], {"name": "c", "type": "channel"}, AXES[1]]
    array = store(tmp_path / "a.zarr", image(axes=axes, scale=(1, 3, 1, 2)), shape=(4, 6, 2, 8))
    found = read(tmp_path / "a.zarr")
    assert np.allclose(found.spacing, [0.001, 0.002, 0.003])
    assert np.array_equal(found.loaded().array, array.transpose(2, 0, 3, 1))


def test_transformations_follow_each_other(tmp_path):
    later = [{"type": "scale", "scale": [2, 2, 2]}, {"type": "translation", "translation": [0, 0, 5]}]
    first = {"type": "translation", "translation": [0, 0, 1]}
    store(tmp_path / "a.zarr", image(extra=[first], coordinateTransformations=later))
    found = read(tmp_path / "a.zarr")
    assert np.allclose(found.affine[0], [0.002, 0, 0, 0.007])


@pytest.mark.parametrize("unit", ["nanometer", "millimeter"])
def test_units(tmp_path, unit):
    axes = [{**axis, "unit": unit} for axis in AXES]
    store(tmp_path / "a.zarr", image(axes=axes))
    assert np.isclose(read(tmp_path / "a.zarr").spacing[0], {"nanometer": 1e-6, "millimeter": 1.0}[unit])


def test_no_unit_is_said(tmp_path):
    store(tmp_path / "a.zarr", image(axes=[{"name": name} for name in "zyx"]))
    with pytest.warns(GeometryWarning, match="no unit for its axes x, y, z: taken as micrometre"):
        assert np.isclose(read(tmp_path / "a.zarr").spacing[0], 0.001)


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({}, "zarr without OME-Zarr metadata .* give an OME-Zarr image"),
        ({"multiscales": []}, "without OME-Zarr metadata"),
        ({"plate": {}}, "is a plate of many images"),
        ({"bioformats2raw.layout": 3}, "collection of images: name one of them, such as .*/0"),
        (image(version="0.6"), "version 0.6, but 0.4 and 0.5 are read"),
        ({"multiscales": [{"datasets": [{"path": "0"}], "axes": ["z", "y", "x"]}]}, "version unknown"),
        (image(axes=AXES[1:], scale=(1, 1)), "axes y, x: a volume has x, y and z"),
        (image(axes=[{"name": "q"}, *AXES[1:]]), "axes q, y, x"),
        (image(axes=[AXES[0], *AXES], scale=(1, 1, 1, 1)), "axes z, z, y, x"),
        (image(scale=(1, 2)), "incomplete .* a scale of 2 numbers for 3 axes"),
        (image(scale=(0, 1, 1)), "none may be 0"),
        (image(axes=[{**axis, "unit": "parsec"} for axis in AXES]), "unit 'parsec'"),
        (image(extra=[{"type": "affine", "path": "x"}]), "'affine' that is not written out"),
        (image(paths=("7",)), "names the level '7', which is not there"),
        (image(axes=[{"name": "c"}, *AXES], scale=(1, 1, 1, 1)), "axes are c, z, y, x"),
    ],
)
def test_odd_metadata(tmp_path, attributes, sentence):
    store(tmp_path / "a.zarr", attributes)
    warnings.simplefilter("ignore", GeometryWarning)
    with pytest.raises((InputError, GeometryError), match=sentence):
        read(tmp_path / "a.zarr")


def test_many_time_points(tmp_path):
    axes = [{"name": "t", "type": "time"}, *AXES]
    store(tmp_path / "a.zarr", image(axes=axes, scale=(1, 3, 2, 1)), shape=(2, 4, 6, 8))
    with pytest.raises(InputError, match="2 time points"):
        read(tmp_path / "a.zarr")


def test_a_plain_array(tmp_path):
    zarr.create_array(zarr.storage.LocalStore(tmp_path / "a.zarr"), data=np.zeros((2, 2, 2)))
    with pytest.raises(InputError, match="zarr without OME-Zarr metadata"):
        read(tmp_path / "a.zarr")


def test_folders_that_are_none(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(InputError, match=r"neither zarr.json nor .zgroup"):
        read(tmp_path / "a.zarr")
    (tmp_path / "b.zarr").write_text("{}")
    with pytest.raises(InputError, match="is a file, but an OME-Zarr image is a folder"):
        read(tmp_path / "b.zarr")
    with pytest.raises(InputError, match="does not exist"):
        read(tmp_path / "c.zarr")


@pytest.mark.parametrize("name", ["zarr.json", "0/zarr.json"])
def test_metadata_cut_short(tmp_path, name):
    store(tmp_path / "a.zarr", image(version="0.5"), zarr_format=3)
    file = tmp_path / "a.zarr" / name
    file.write_text(file.read_text()[:40])
    with pytest.raises(InputError, match=r"metadata .*cannot be read|cannot be read"):
        read(tmp_path / "a.zarr")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_rights(tmp_path):
    store(tmp_path / "a.zarr", image())
    (tmp_path / "a.zarr" / ".zgroup").chmod(0)
    with pytest.raises(InputError, match="may not be read by this user"):
        read(tmp_path / "a.zarr")


def test_a_chunk_that_is_not_there_is_said(tmp_path):
    array = store(tmp_path / "a.zarr", image(), chunks=(2, 6, 8))
    (tmp_path / "a.zarr" / "0" / "1.0.0").unlink()
    with pytest.warns(OmlabWarning, match="1 of 2 chunks are not there; they are read as 0"):
        found = read(tmp_path / "a.zarr").loaded().array[0].T
    assert np.array_equal(found[:2], array[:2])
    assert not found[2:].any()


def test_a_chunk_that_is_cut_short(tmp_path):
    array = store(tmp_path / "a.zarr", image(), chunks=(2, 6, 8))
    file = tmp_path / "a.zarr" / "0" / "1.0.0"
    file.write_bytes(file.read_bytes()[:20])
    found = read(tmp_path / "a.zarr")
    assert np.array_equal(found.read((slice(None), slice(None), slice(0, 2)))[0].T, array[:2])
    with pytest.raises(InputError, match=r"a.zarr cannot be read at z, y, x = 1:3, 0:6, 0:8 .* damaged"):
        found.read((slice(None), slice(None), slice(1, 3)))


def test_an_image_is_no_label_map(tmp_path):
    store(tmp_path / "a.zarr", image(), dtype="float32")
    with pytest.raises(InputError, match="1 channels of float32: a label map has one, of unsigned integers"):
        read(tmp_path / "a.zarr", "big-labelmap")


def test_label_names_of_others(tmp_path):
    facts = {
        "colors": [{"label-value": 2, "rgba": [1, 2, 3, 255]}, {"label-value": 0, "rgba": [0, 0, 0, 0]}],
        "properties": [{"label-value": 2, "name": "soma"}, {"label-value": 3}],
    }
    store(tmp_path / "a.zarr", {**image(), "image-label": facts}, dtype="uint8")
    assert read(tmp_path / "a.zarr", "big-labelmap").labels == (Label(value=2, name="soma", colour=(1, 2, 3)),)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_round_trip(tmp_path, version, number):
    volume, labelmap = example_volumes(channels=2)[number], example_labelmaps()[number]
    write_store(big(volume), tmp_path / "a.zarr", version=version)
    write_store(big(labelmap), tmp_path / "b.zarr", version=version)
    found = read(tmp_path / "a.zarr")
    assert np.array_equal(found.loaded().array, volume.array)
    assert found.same_grid(volume)
    assert found.source.meta["version"] == version
    classes = read(tmp_path / "b.zarr", "big-labelmap")
    assert np.array_equal(classes.loaded().array, labelmap.array)
    assert classes.labels == labelmap.labels
    assert classes.same_grid(labelmap)
    assert not list(tmp_path.rglob(f"{PROGRESS}*"))


def test_what_others_read_of_ours(tmp_path):
    array = np.zeros((1, 300, 20, 10), np.uint8)
    array[0, 100:200] = 1
    affine = np.diag([0.004, 0.004, 0.003, 1])
    affine[:3, 3] = [1.0, 2.0, 3.0]
    labels = (Label(value=1, name="axon", colour=(1, 2, 3)),)
    omlab.write(BigLabelMap(voxels=Held(array), affine=affine, labels=labels), tmp_path / "a.ome.zarr")
    attributes = json.loads((tmp_path / "a.ome.zarr" / "zarr.json").read_text())["attributes"]["ome"]
    (multiscale,) = attributes["multiscales"]
    assert multiscale["name"] == "a"
    assert [axis["name"] for axis in multiscale["axes"]] == ["z", "y", "x"]
    assert {axis["unit"] for axis in multiscale["axes"]} == {"millimeter"}
    fine, coarse = (level["coordinateTransformations"] for level in multiscale["datasets"])
    assert np.allclose(fine[0]["scale"], [0.003, 0.004, 0.004])
    assert np.allclose(fine[1]["translation"], [3, 2, 1])
    assert np.allclose(coarse[0]["scale"], [0.006, 0.008, 0.008])
    assert np.allclose(coarse[1]["translation"], [3.0015, 2.002, 1.002])  # the middle of two voxels
    assert attributes["image-label"]["properties"] == [{"label-value": 1, "name": "axon"}]
    level = zarr.open_group(tmp_path / "a.ome.zarr", mode="r")["1"]
    assert level.shape == (5, 10, 150)
    assert np.array_equal(level[:], np.broadcast_to((np.arange(150) // 50 == 1), (5, 10, 150)))


@given(st.lists(st.integers(1, 7), min_size=3, max_size=3), st.sampled_from(["mean", "max", "nearest"]))
@settings(max_examples=40, deadline=None)
def test_halved(shape, method):
    array = np.random.default_rng(sum(shape)).integers(0, 200, shape).astype(np.uint8)
    found = halved(array, method=method)
    assert found.dtype == array.dtype
    assert found.shape == tuple(-(-n // 2) for n in shape)
    block = array[:2, :2, :2]
    full = np.pad(block, [(0, 2 - n) for n in block.shape], mode="edge")
    want = {"mean": round(float(full.mean(dtype=np.float64))), "max": full.max(), "nearest": full[0, 0, 0]}[method]
    assert found[0, 0, 0] == want


def blocks(array, *, fail_at=None, done=None):
    regions = tiles(array.shape[1:], (4, 4, 4))

    def compute(first):
        for number in range(first, len(regions)):
            if number == fail_at:
                raise InputError("The network stopped.")
            if done is not None:
                done.append(number)
            yield array[(slice(None), *regions[number])]

    computed = Computed(shape=array.shape, dtype=array.dtype, chunks=(4, 4, 4), regions=regions, compute=compute)
    return BigLabelMap(voxels=computed, affine=np.eye(4))


@given(st.integers(0, 17), st.integers(0, 17))
@settings(max_examples=12, deadline=None)
def test_a_stopped_start_is_gone_on_with(tmp_path_factory, first, second):
    path = tmp_path_factory.mktemp("resumed") / "a.zarr"
    array = np.random.default_rng(0).integers(0, 3, (1, 9, 7, 10)).astype(np.uint8)
    done = []
    for stop in (first, second):
        with pytest.raises(InputError, match="The network stopped"):
            OmeZarr().write(blocks(array, fail_at=max(stop, len(done)), done=done), path)
        with pytest.raises(InputError):
            read(path, "big-labelmap")  # not an image before it is whole
    OmeZarr().write(blocks(array, done=done), path)
    assert done == list(range(18))
    assert np.array_equal(read(path, "big-labelmap").loaded().array, array[0])


def test_what_was_begun_of_another_grid_is_begun_anew(tmp_path):
    path, done = tmp_path / "a.zarr", []
    array = np.ones((1, 8, 8, 8), np.uint8)
    with pytest.raises(InputError, match="stopped"):
        OmeZarr().write(blocks(array, fail_at=3), path)
    other = BigLabelMap(voxels=blocks(array, done=done).voxels, affine=np.diag([2.0, 2, 2, 1]))
    OmeZarr().write(other, path)
    assert done == list(range(8))


def test_what_is_whole_is_not_computed_again(tmp_path):
    array = np.ones((1, 8, 8, 8), np.uint8)
    OmeZarr().write(blocks(array), tmp_path / "a.zarr")
    with pytest.warns(OmlabWarning, match="a.zarr is whole already: nothing was computed"):
        OmeZarr().write(blocks(array, fail_at=0), tmp_path / "a.zarr")
    other = BigLabelMap(voxels=blocks(array).voxels, affine=np.diag([2.0, 2, 2, 1]))
    with pytest.raises(OutputError, match="exists already"):
        OmeZarr().write(other, tmp_path / "a.zarr")


def test_torn_progress_is_begun_anew(tmp_path):
    path, done = tmp_path / "a.zarr", []
    array = np.ones((1, 8, 8, 8), np.uint8)
    with pytest.raises(InputError, match="stopped"):
        OmeZarr().write(blocks(array, fail_at=3), path)
    (path / PROGRESS).write_text('{"what"')
    OmeZarr().write(blocks(array, done=done), path)
    assert done == list(range(8))


def test_what_omlab_did_not_begin_stays(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "mine").write_text("x")
    with pytest.raises(OutputError, match="exists already"):
        OmeZarr().write(blocks(np.ones((1, 8, 8, 8), np.uint8)), tmp_path / "a.zarr")
    assert (tmp_path / "a.zarr" / "mine").exists()
    rmtree(tmp_path / "a.zarr")


def test_names_and_kinds_that_it_does_not_write(tmp_path):
    volume = example_volumes()[0]
    with pytest.raises(OutputError, match=r"end in .ome.zarr or .zarr"):
        OmeZarr().write(big(volume), tmp_path / "a.n5")
    with pytest.raises(OutputError, match="not a 'volume'"):
        OmeZarr().write(volume, tmp_path / "a.zarr")
    with pytest.raises(OutputError, match="No format writes"):
        omlab.write(volume, tmp_path / "a.zarr")
    assert isinstance(big(volume), BigVolume)
    assert not list(Path(tmp_path).iterdir())

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import omlab
from omlab.errors import GeometryError, InputError, UsageError
from omlab_volume.big.payloads import BigLabelMap, BigVolume, big
from omlab_volume.big.voxels import Computed, Held, shared, size_of, tiles, whole, within
from omlab_volume.testing import example_labelmaps, example_volumes
from omlab_volume.volume import LabelMap, Volume

shapes = st.tuples(*[st.integers(1, 9)] * 3)


def numbered(shape, channels=1):
    return np.arange(channels * np.prod(shape), dtype=np.uint16).reshape(channels, *shape)


def computed(array, size, *, asked=None):
    """The same voxels, computed in tiles."""
    regions = tiles(array.shape[1:], size)

    def compute(first):
        for region in regions[first:]:
            if asked is not None:
                asked.append(region)
            yield array[(slice(None), *region)]

    return Computed(shape=array.shape, dtype=array.dtype, chunks=size, regions=regions, compute=compute)


@st.composite
def regions_in(draw, shape):
    bounds = [sorted(draw(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)))) for n in shape]
    return tuple(slice(first, last + 1) for first, last in bounds)


@given(st.data(), shapes, shapes)
@settings(max_examples=60, deadline=None)
def test_computed_voxels_read_as_those_in_memory(data, shape, size):
    array = numbered(shape, channels=2)
    region = data.draw(regions_in(shape))
    assert np.array_equal(computed(array, size).read(region), Held(array).read(region))


@given(shapes, shapes)
@settings(max_examples=60, deadline=None)
def test_tiles_cover_every_voxel_once(shape, size):
    count = np.zeros(shape, int)
    for region in tiles(shape, size):
        count[region] += 1
    assert (count == 1).all()


@given(st.data(), shapes)
@settings(max_examples=60, deadline=None)
def test_what_regions_share(data, shape):
    first, second = data.draw(regions_in(shape)), data.draw(regions_in(shape))
    mask = np.zeros(shape, bool)
    mask[first] = True
    other = np.zeros(shape, bool)
    other[second] = True
    common = shared(first, second)
    if common is None:
        assert not (mask & other).any()
    else:
        assert (mask & other).sum() == np.prod(size_of(common))
        assert np.array_equal(mask[first][within(common, first)], np.ones(size_of(common), bool))


def test_only_blocks_that_are_touched_are_computed():
    asked = []
    array = numbered((4, 4, 8))
    computed(array, (4, 4, 2), asked=asked).read((slice(0, 1), slice(0, 1), slice(3, 5)))
    assert [region[2].start for region in asked] == [2, 4]


@pytest.mark.parametrize(
    "region",
    [
        (slice(0, 1), slice(0, 1)),
        (slice(0, 99), slice(0, 1), slice(0, 1)),
        (slice(-1, 1), slice(0, 1), slice(0, 1)),
        (slice(1, 1), slice(0, 1), slice(0, 1)),
        (slice(0, 4, 2), slice(0, 1), slice(0, 1)),
        (0, 0, 0),
    ],
)
def test_regions_that_cannot_be(region):
    with pytest.raises(InputError, match="region"):
        big(example_volumes()[0]).read(region)


def test_open_bounds_are_the_whole():
    volume = example_volumes()[0]
    assert np.array_equal(big(volume).read((slice(None), slice(2), slice(3, None))), volume.array[:, :, :2, 3:])


@pytest.mark.parametrize("number", [0, 1, 2])
def test_same_grid_as_in_memory(number):
    volume, labelmap = example_volumes()[number], example_labelmaps()[number]
    assert big(volume).same_grid(big(labelmap))
    assert big(volume).same_grid(volume)
    assert not big(volume).same_grid(big(example_volumes()[(number + 1) % 3]))
    assert np.array_equal(big(labelmap).loaded().array, labelmap.array)
    assert np.array_equal(big(volume).loaded().array, volume.array)


def test_nothing_in_a_file_counts_as_held(tmp_path):
    volume = example_volumes()[0]
    omlab.write(big(volume), tmp_path / "a.zarr")
    assert omlab.read(tmp_path / "a.zarr", kind="big-volume").nbytes < 1000 < big(volume).nbytes


def test_a_label_map_is_of_unsigned_integers():
    with pytest.raises(GeometryError, match="integers, not 1 of float32"):
        BigLabelMap(voxels=Held(np.zeros((1, 2, 2, 2), np.float32)), affine=np.eye(4))


@given(st.integers(1, 40), st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_coarse_voxels_lie_where_they_were(size, most):
    array = np.arange(size, dtype=np.float32)[None, :, None, None] * np.ones((1, 1, 3, 2), np.float32)
    affine = np.diag([0.5, 2.0, 3.0, 1.0])
    affine[:3, 3] = [7.0, 0.0, -1.0]
    coarse = BigVolume(voxels=Held(array), affine=affine).coarse(most=most)
    assert max(coarse.array.shape) <= max(most, 1)
    place = coarse.affine[0, 0] * np.arange(coarse.array.shape[1]) + coarse.affine[0, 3]
    inside = slice(0, max(1, len(place) - 1))  # the last block is cut short, and so is its middle
    assert np.allclose(coarse.array[0, inside, 0, 0] * 0.5 + 7.0, place[inside])


def test_coarse_from_a_pyramid(tmp_path):
    i, j, k = np.meshgrid(*[np.arange(n, dtype=np.float32) for n in (300, 20, 10)], indexing="ij")
    volume = BigVolume(voxels=Held((i + j + k)[None]), affine=np.eye(4))
    omlab.write(volume, tmp_path / "a.ome.zarr")
    read = omlab.read(tmp_path / "a.ome.zarr", kind="big-volume")
    assert [level.shape for level in read.levels] == [(1, 150, 10, 5)]
    direct, through = volume.coarse(most=50), read.coarse(most=50)
    assert through.same_grid(direct)
    assert np.abs(through.array - direct.array).max() <= 3


def test_thumbnail_in_true_proportions():
    array = np.random.default_rng(0).normal(size=(1, 40, 20, 4)).astype(np.float32)
    picture = BigVolume(voxels=Held(array), affine=np.diag([1.0, 4.0, 1.0, 1.0])).thumbnail(size=60)
    assert Image.open(io.BytesIO(picture)).size == (30, 60)


def test_overlay(tmp_path):
    volume, labelmap = big(example_volumes()[0]), big(example_labelmaps()[0])
    assert labelmap.overlay({"volume": volume}, target=labelmap).startswith(b"\x89PNG")
    with pytest.raises(UsageError, match="drawn over a big volume, but nothing"):
        labelmap.overlay({})
    with pytest.raises(GeometryError, match="grid"):
        labelmap.overlay({"volume": big(example_volumes()[1])})
    with pytest.raises(UsageError, match="compared with a big label map"):
        labelmap.overlay({"volume": volume}, target=example_labelmaps()[0])


def test_kinds_and_names():
    named = big(example_labelmaps()[0]).named({1: "axon", 5: "soma"})
    assert [(label.value, label.name) for label in named.labels] == [(1, "axon"), (5, "soma")]
    assert (BigVolume.kind, BigLabelMap.kind) == ("big-volume", "big-labelmap")
    assert {Volume.kind, LabelMap.kind}.isdisjoint({"big-volume", "big-labelmap"})
    assert whole((2, 3, 4)) == (slice(0, 2), slice(0, 3), slice(0, 4))

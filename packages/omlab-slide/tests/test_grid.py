"""Grids and tiles: exact positions at any scale, shares as the mask has them, tiles in order and in bounds."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab.errors import OmlabWarning, UsageError
from omlab_slide.grid import as_mpp, corners, patches, published_patches, shares
from omlab_slide.slide import Slide, open_slide
from omlab_slide.testing import draw_slide, held, write_pyramid
from omlab_slide.tiles import tiles
from omlab_slide.tissue import Tissue, tissue

DRAWING = draw_slide((1500, 1100), seed=5)


def masked(mask, *, scale):
    return Tissue(mask=mask, downsample=scale, polygons=[], mpp=None)


@given(
    side=st.floats(20, 3000), step=st.floats(1.5, 400), scale=st.floats(0.1, 1)
)  # steps of scales that are no level's
@settings(max_examples=60, deadline=None)
def test_corners_never_drift_from_multiples_of_the_step(side, step, scale):
    dimensions = (int(side), int(side * scale) + 1)
    found = corners(dimensions, step=step)
    x = np.unique(found[:, 0])
    assert np.abs(x - np.arange(len(x)) * step).max() <= 0.5 + 1e-6
    assert x.max() < dimensions[0] <= x.max() + step + 1
    np.testing.assert_array_equal(found, found[np.lexsort((found[:, 0], found[:, 1]))])  # row by row


@given(seed=st.integers(0, 9999), size0=st.integers(3, 90))
@settings(max_examples=40, deadline=None)
def test_a_share_is_the_mean_of_the_mask_over_the_patch(seed, size0):
    draws = np.random.default_rng(seed)
    mask = draws.random((13, 17)) < 0.5
    scale = (6.0, 5.0)
    coords = draws.integers(-20, 100, (9, 2)).astype(np.int32)
    fine = np.kron(mask, np.ones((5, 6)))
    padded = np.pad(fine, 200)
    expected = [padded[y + 200 : y + 200 + size0, x + 200 : x + 200 + size0].mean() for x, y in coords]
    np.testing.assert_allclose(shares(mask, coords, size0=size0, downsample=scale), expected, atol=1e-9)


def test_patches_are_those_with_enough_tissue():
    slide = held(DRAWING)
    mask = np.zeros((11, 15), bool)
    mask[:, :5] = True  # the left 500 pixels
    found = patches(slide, mpp=1.0, patch=100, tissue=masked(mask, scale=(100.0, 100.0)), least_share=0.5)
    assert (found.size0, found.size, found.mpp, found.downsample) == (200, 100, 1.0, 2.0)
    assert found.coords.dtype == np.int32
    assert found.share.dtype == np.float16
    assert np.unique(found.coords[:, 0]).tolist() == [0, 200, 400]
    assert found.share[found.coords[:, 0] == 400][0] == 0.5
    assert found.share[found.coords[:, 1] == 1000][0] == 0.5  # reaches beyond the lower edge
    half = patches(slide, mpp=1.0, patch=100, tissue=masked(mask, scale=(100.0, 100.0)), least_share=0.6)
    assert len(half) == 10
    some = patches(slide, mpp=1.0, patch=100, tissue=masked(mask[:, :1], scale=(1500.0, 100.0)), least_share=0)
    assert len(some) == len(patches(slide, mpp=1.0, patch=100))  # all of it is tissue, and without any all are taken
    none = patches(slide, mpp=1.0, patch=100, tissue=masked(mask & False, scale=(100.0, 100.0)), least_share=0)
    assert len(none) == 0


def test_the_scale_is_exact_and_a_magnification_is_converted():
    slide = held(DRAWING, mpp=0.2521)
    found = patches(slide, mpp="20x", patch=224, overlap=24)
    assert found.mpp == 0.5
    assert found.downsample == 0.5 / 0.2521
    assert np.unique(found.coords[:, 0]).tolist() == np.rint(np.arange(4) * 200 * 0.5 / 0.2521).tolist()
    assert [as_mpp(value) for value in (0.25, "0.25", "40x", "2.5X")] == [0.25, 0.25, 0.25, 4.0]
    for wrong in ("x20", "", "0", -1, "20xx"):
        with pytest.raises(UsageError, match="is no scale"):
            as_mpp(wrong)
    with pytest.warns(OmlabWarning, match="enlarged 2 times"):
        patches(slide, mpp=0.2521 / 2)
    for more in ({"patch": 0}, {"overlap": 256}, {"overlap": -1}, {"least_share": 1.5}):
        with pytest.raises(UsageError):
            patches(slide, mpp=1, **more)


def test_published_patches_are_those_of_the_published_recipe():
    from omlab_slide.tissue.clam import PRESETS, clam_corners, clam_outlines

    slide = held(DRAWING, levels=3)
    found = tissue(slide, "clam-bwh-biopsy")
    grid = published_patches(slide, found, level=1, patch=64, step=32, test="center", pads=False)
    level = slide.levels[2]
    scale = (1500 / level.size[0], 1100 / level.size[1])
    polygons = clam_outlines(slide.read((0, 0), 2, level.size), scale=scale, preset=PRESETS["bwh-biopsy"])
    expected = clam_corners(polygons, dimensions=(1500, 1100), patch=256, step=128, test="center", pads=False)
    np.testing.assert_array_equal(grid.coords, expected)
    assert (grid.size0, grid.size, grid.mpp) == (256, 64, 2.0)
    assert len(grid) > 10
    first = next(tiles(slide, grid, batch=1))
    np.testing.assert_array_equal(first.pixels[0], slide.read(tuple(grid.coords[0].tolist()), 1, (64, 64)))


@pytest.mark.parametrize("workers", [1, 3])
def test_tiles_come_in_order_and_in_batches(workers):
    slide = held(DRAWING)
    grid = patches(slide, mpp=0.5, patch=100)
    batches = list(tiles(slide, grid, batch=30, workers=workers))
    assert [len(batch) for batch in batches] == [30] * (len(grid) // 30) + [len(grid) % 30]
    np.testing.assert_array_equal(np.concatenate([batch.indices for batch in batches]), np.arange(len(grid)))
    pixels = np.concatenate([batch.pixels for batch in batches])
    for index in (0, 17, 100, len(grid) - 1):
        x, y = grid.coords[index]
        np.testing.assert_array_equal(pixels[index], slide.read((int(x), int(y)), 0, (100, 100)))
    again = np.concatenate([batch.pixels for batch in tiles(slide, grid, batch=7, workers=2, start=41)])
    np.testing.assert_array_equal(again, pixels[41:])
    shifted = next(tiles(slide, grid, batch=4, then=lambda tile: 255 - tile))
    np.testing.assert_array_equal(shifted.pixels, 255 - pixels[:4])


def test_reading_ahead_has_a_bound():
    slide = held(DRAWING)
    grid = patches(slide, mpp=0.5, patch=20)
    read = []
    batches = tiles(slide, grid, batch=16, workers=2, then=lambda tile: read.append(1) or tile)
    next(batches)
    time.sleep(0.3)
    assert len(grid) > 4000
    assert len(read) <= 16 + 5 * 16
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tiles")]


def test_corrupt_tiles_are_told_by_their_patch(tmp_path):
    path = write_pyramid(tmp_path / "a.tiff", DRAWING, corrupt=[(0, 2, 1)])
    slide = open_slide(path)
    grid = patches(slide, mpp=0.5, patch=256, tissue=tissue(slide), least_share=0)
    flawed = {index: flaws for batch in tiles(slide, grid, batch=8) for index, flaws in batch.flaws.items()}
    (index,) = flawed
    assert grid.coords[index].tolist() == [512, 256]
    assert flawed[index][0].instead == 1


def test_an_error_of_a_thread_reaches_who_reads(monkeypatch):
    slide = held(DRAWING)
    grid = patches(slide, mpp=0.5, patch=100)

    def broken(self, *arguments, **more):
        raise OSError("disk is gone")

    monkeypatch.setattr(Slide, "region_scaled", broken)
    with pytest.raises(OSError, match="disk is gone"):
        list(tiles(slide, grid))

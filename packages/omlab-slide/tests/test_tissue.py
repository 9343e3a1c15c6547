"""Tissue: found in micrometres whatever the scanner, by networks, as published; odd slides are told of."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from omlab.errors import InputError, OmlabWarning, UsageError
from omlab_slide.grid import patches
from omlab_slide.quality import quality
from omlab_slide.testing import BACKGROUND, draw_slide, example_slides, held, odd_slides
from omlab_slide.tissue import METHODS, Tissue, tissue
from omlab_slide.tissue.clam import PRESETS, clam_corners
from omlab_slide.tissue.find import CLAM_METHODS
from omlab_slide.tissue.grey import otsu
from omlab_slide.tissue.network import ByTiles
from omlab_slide.tissue.polygons import covered, filled, outlines

DRAWING = draw_slide((1600, 1200), seed=11)
TRUTH = DRAWING[..., 1] < 200


def found_of(slide, *arguments, **more) -> Tissue:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OmlabWarning)
        return tissue(slide, *arguments, **more)


def dice(mask, truth):
    return 2 * (mask & truth).sum() / (mask.sum() + truth.sum())


def true_mask(found):
    """The drawing's tissue on the pixels of a mask."""
    rows, columns = (np.arange(n) for n in found.mask.shape)
    y, x = (rows + 0.5) * found.downsample[1], (columns + 0.5) * found.downsample[0]
    from scipy.ndimage import uniform_filter

    smooth = uniform_filter(TRUTH.astype(float), 9) > 0.5
    return smooth[np.ix_(y.astype(int), x.astype(int))]


@pytest.mark.parametrize("method", [*METHODS, "clam-bwh-biopsy"])
def test_each_method_finds_the_tissue(method):
    found = found_of(held(DRAWING), method)
    assert dice(found.mask, true_mask(found)) > 0.85
    assert len(found.polygons) == 2
    assert found.area_mm2 == pytest.approx(found.share * 1600 * 1200 * 0.25e-6)


def test_a_scanner_of_twice_the_magnification_gives_the_same_tissue():
    fine = np.kron(DRAWING, np.ones((2, 2, 1), np.uint8))
    coarse, double = found_of(held(DRAWING, mpp=0.5)), found_of(held(fine, mpp=0.25))
    assert coarse.mask.shape == double.mask.shape
    assert dice(coarse.mask, double.mask) > 0.98
    assert double.area_mm2 == pytest.approx(coarse.area_mm2, rel=0.03)
    with_presets = [found_of(held(array, mpp=mpp), "clam-tcga") for array, mpp in ((DRAWING, 0.5), (fine, 0.25))]
    assert [len(one.polygons) for one in with_presets] == [0, 0]  # of which the published presets lose both


def test_small_pieces_go_and_small_holes_are_filled():
    drawing = np.full((1000, 1000, 3), BACKGROUND, np.uint8)
    drawing[200:800, 200:800] = (214, 150, 190)
    drawing[400:440, 400:440] = BACKGROUND  # 20 micrometres of 0.5: 0.0004 mm2
    drawing[500:800, 500:800] = BACKGROUND
    drawing[600:700, 600:700] = (214, 150, 190)
    drawing[40:90, 40:90] = (214, 150, 190)
    found = found_of(held(drawing), least_mm2=0.002, least_hole_mm2=0.005, close_um=0, smooth_um=0)
    assert len(found.polygons) == 2  # with the island, without the speck
    assert not found.mask[:6, :6].any()
    assert found.mask[26, 26]  # in the small hole
    assert not found.mask[34, 34]
    assert not found.mask[46, 46]
    assert sum(len(one.holes) for one in found.polygons) == 0  # the large one opens at a corner's edge


def test_a_hole_is_a_hole_in_mask_and_polygon():
    mask = np.zeros((40, 50), bool)
    mask[5:35, 5:45] = True
    mask[15:25, 20:30] = False
    for through in (0.0, 0.5):
        (piece,) = outlines(mask, scale=(8.0, 8.0), least_area=10, least_hole=10, through=through)
        assert len(piece.holes) == 1
        assert piece.area == piece.outer_area - sum(piece.hole_areas) > 0
        np.testing.assert_array_equal(covered([piece], shape=(40, 50), scale=(8.0, 8.0), through=through), mask)
    (piece,) = outlines(mask, scale=(8.0, 8.0), least_area=10, least_hole=10)
    assert filled([piece], shape=(40, 50), scale=(8.0, 8.0)).sum() < mask.sum()  # without the hole's rim, as published
    assert outlines(np.zeros((9, 9), bool), scale=(1, 1), least_area=0, least_hole=0) == []
    assert outlines(mask, scale=(1, 1), least_area=2000, least_hole=0) == []


def test_ink_is_told_and_does_not_count():
    slide = held(draw_slide((1600, 1200), seed=11, pen=True))
    with pytest.warns(OmlabWarning, match="ink of a pen"):
        found = tissue(slide)
    assert dice(found.mask, true_mask(found)) > 0.85
    assert "pen" in quality(slide, found).flags()
    kept = found_of(slide, keeps_pen=True, least_mm2=0.002)
    assert kept.mask[:15].sum() > found.mask[:15].sum()
    assert "pen" not in quality(held(DRAWING), found_of(held(DRAWING))).flags()


def test_a_slide_without_tissue_or_all_of_it_is_told():
    odd = odd_slides()
    for method in METHODS:
        with pytest.warns(OmlabWarning, match="No tissue was found"):
            found = tissue(odd["without-tissue"], method)
        assert (found.share, found.area_mm2, len(patches(odd["without-tissue"], mpp=1, tissue=found))) == (0, 0, 0)
        assert found.doubts
    with pytest.warns(OmlabWarning, match="100 % of"):
        assert tissue(odd["all-tissue"]).share == 1
    with pytest.raises(InputError, match="does not say how many micrometres"):
        tissue(odd["without-mpp"])
    with pytest.warns(OmlabWarning, match="No tissue"):
        assert tissue(odd["without-mpp"], "clam-default").area_mm2 is None


@pytest.mark.parametrize("name", ["black", "tiny"])
def test_odd_slides_stop_nothing(name):
    slide = odd_slides()[name]
    for method in (*METHODS, *CLAM_METHODS):
        found = found_of(slide, method)
        assert quality(slide, found).pen >= 0


def test_a_network_finds_tissue_tile_by_tile():
    seen = []

    def predict(batch):
        seen.append(batch.shape)
        return (batch.mean(axis=3) < 215).astype(np.float32)

    slide = held(DRAWING)
    found = found_of(slide, ByTiles(predict=predict, mpp=1.0, tile=128, margin=16, batch=4))
    assert {shape[1:] for shape in seen} == {(128, 128, 3)}
    assert max(shape[0] for shape in seen) == 4
    assert dice(found.mask, true_mask(found)) > 0.9
    assert found.mpp == pytest.approx(8.0, rel=0.05)


def test_what_there_is_not_is_refused():
    with pytest.raises(UsageError, match="saturation, otsu, morphological"):
        tissue(held(DRAWING), "magic")
    with pytest.raises(UsageError, match="presets default"):
        tissue(held(DRAWING), "clam-magic")
    assert set(PRESETS) >= {"default", "tcga", "bwh-biopsy", "bwh-resection", "heatmap"}
    (piece,) = outlines(np.ones((9, 9), bool), scale=(8, 8), least_area=0, least_hole=0)
    with pytest.raises(UsageError, match="four_pt"):
        clam_corners([piece], dimensions=(99, 99), patch=8, step=8, test="magic")


def test_otsu_is_the_threshold_of_largest_variance_between():
    values = np.repeat(np.array([10, 12, 200, 210], np.uint8), [50, 50, 30, 20])
    assert 12 <= otsu(values) < 200
    assert otsu(np.full(9, 77, np.uint8)) == 77


def test_blur_is_told():
    import cv2

    sharp = held(DRAWING)
    blurred = held(cv2.GaussianBlur(DRAWING, (0, 0), 8))
    assert quality(sharp, found_of(sharp)).flags() == []
    assert quality(blurred, found_of(blurred)).flags() == ["blur"]
    for slide in example_slides():
        assert quality(slide, found_of(slide)).sharpness > 0.1
    dark = held((DRAWING * 0.6).astype(np.uint8))
    assert "background" in quality(dark, found_of(dark, "otsu")).flags()


def test_folds_are_dark_and_saturated():
    drawing = DRAWING.copy()
    drawing[500:900, 300:420] = (90, 20, 80)
    slide = held(drawing)
    assert "folds" in quality(slide, found_of(slide)).flags()


def test_a_real_slide(shared_data):
    from omlab_slide.slide import open_slide

    slide = open_slide(shared_data / "slide" / "cmu-1-small-region.svs")
    areas = [found_of(slide, method).area_mm2 for method in METHODS]
    assert min(areas) > 0.6
    assert max(areas) < 0.71
    assert quality(slide, found_of(slide)).flags() == ["pen"]  # it has green dye at its edges

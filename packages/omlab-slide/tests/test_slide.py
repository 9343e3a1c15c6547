"""Slides: read by region through each library, whatever is corrupt; their scale; threads and processes."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import omlab
from omlab.errors import InputError, OmlabWarning, UsageError
from omlab_slide.readers.mending import WHITE, composited
from omlab_slide.slide import Slide, open_slide
from omlab_slide.testing import draw_slide, held, write_pyramid

DRAWING = draw_slide((1200, 900), seed=7)


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory):
    return write_pyramid(tmp_path_factory.mktemp("slides") / "plain.tiff", DRAWING)


@pytest.mark.parametrize("reader", ["openslide", "tiffslide"])
def test_regions_are_the_pixels_of_the_file(pyramid, reader):
    slide = open_slide(pyramid, reader=reader)
    assert slide.dimensions == (1200, 900)
    assert [level.size for level in slide.levels] == [(1200, 900), (300, 225), (75, 56)]
    assert slide.mpp == pytest.approx(0.5)
    np.testing.assert_array_equal(slide.read((100, 200), 0, (300, 150)), DRAWING[200:350, 100:400])
    beyond = slide.read((-50, 850), 0, (100, 100))
    np.testing.assert_array_equal(beyond[:50, 50:], DRAWING[850:, :50])
    assert (beyond[:, :50] == 255).all()  # outside is white, not black
    assert (beyond[50:] == 255).all()
    assert slide.flaws == []


@given(
    x=st.integers(-400, 1400),
    y=st.integers(-400, 1100),
    width=st.integers(1, 400),
    height=st.integers(1, 400),
    reader=st.sampled_from(["openslide", "tiffslide"]),
)
@settings(max_examples=25, deadline=None)
def test_any_region_is_the_file_on_white(pyramid, x, y, width, height, reader):
    white = np.full((900 + 1000, 1200 + 1000, 3), 255, np.uint8)
    white[500:1400, 500:1700] = DRAWING
    expected = white[y + 500 : y + 500 + height, x + 500 : x + 500 + width]
    found = open_slide(pyramid, reader=reader).read((x, y), 0, (width, height))
    np.testing.assert_array_equal(found[: len(expected), : expected.shape[1]], expected)
    assert found.shape == (height, width, 3)


def test_a_region_at_another_scale_is_the_mean_of_what_it_covers(pyramid):
    slide = open_slide(pyramid)
    block = DRAWING[100:356, 200:456].reshape(128, 2, 128, 2, 3).mean(axis=(1, 3))
    found = slide.read_at((200, 100), 1.0, (128, 128))
    assert np.abs(found - block).max() <= 1
    coarse = slide.read_at((0, 0), 2.0, (300, 225))  # a level as it stands
    np.testing.assert_array_equal(coarse, slide.read((0, 0), 1, (300, 225)))


def test_a_level_that_is_nearly_as_coarse_is_taken(pyramid):
    slide = open_slide(pyramid)
    assert [slide.level_for(wanted) for wanted in (0.3, 1, 3.9, 3.97, 4, 15, 16, 99)] == [0, 0, 0, 1, 1, 1, 2, 2]


@pytest.mark.parametrize("reader", ["openslide", "tiffslide"])
@pytest.mark.parametrize("compression", ["deflate", "jpeg"])
def test_a_corrupt_tile_is_read_from_another_level_and_told(tmp_path, reader, compression):
    path = write_pyramid(tmp_path / "a.tiff", DRAWING, compression=compression, corrupt=[(0, 1, 1)])
    slide = open_slide(path, reader=reader)
    sound = open_slide(write_pyramid(tmp_path / "b.tiff", DRAWING, compression=compression), reader=reader)
    region = slide.region((0, 0), 0, (1024, 768))
    (flaw,) = region.flaws
    assert (flaw.location, flaw.size, flaw.level, flaw.instead) == ((256, 256), (256, 256), 0, 1)
    assert "level 1 instead" in flaw.in_words()
    expected = sound.read((0, 0), 0, (1024, 768))
    is_corrupt = np.zeros((768, 1024), bool)
    is_corrupt[256:512, 256:512] = True
    np.testing.assert_array_equal(region.pixels[~is_corrupt], expected[~is_corrupt])
    means = [pixels[is_corrupt].mean(axis=0) for pixels in (region.pixels, expected)]
    assert np.abs(means[0] - means[1]).max() < 4
    assert slide.read((600, 100), 0, (64, 64)).shape == (64, 64, 3)  # the handle is not poisoned
    assert slide.flaws == [flaw]


def test_what_no_level_has_is_white_and_told(tmp_path):
    path = write_pyramid(tmp_path / "a.tiff", DRAWING, levels=1, corrupt=[(0, 1, 1)])
    slide = open_slide(path)
    region = slide.region((256, 256), 0, (256, 256))
    assert (region.pixels == 255).all()
    assert region.flaws[0].instead == WHITE
    assert "white instead" in region.flaws[0].in_words()


def test_a_slide_is_pickled_and_each_thread_has_a_handle_of_its_own(pyramid):
    slide = open_slide(pyramid)
    again = ForkingPickler.loads(ForkingPickler.dumps(slide))
    places = [(x, y) for x in range(0, 1000, 100) for y in range(0, 800, 100)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda place: again.read(place, 0, (64, 64)), places))
    for (x, y), pixels in zip(places, found, strict=True):
        np.testing.assert_array_equal(pixels, DRAWING[y : y + 64, x : x + 64])


def test_levels_in_sub_images_are_read_by_the_second_library(tmp_path):
    path = write_pyramid(tmp_path / "a.ome.tiff", DRAWING, sub_ifds=True)
    assert len(open_slide(path, reader="openslide").levels) == 1
    slide = open_slide(path)
    assert len(slide.levels) == 3
    np.testing.assert_array_equal(slide.read((100, 200), 0, (64, 64)), DRAWING[200:264, 100:164])


def test_an_overview_is_read_block_by_block(pyramid, monkeypatch):
    asked = []
    region = Slide.region

    def counted(self, location, level, size):
        asked.append(size)
        return region(self, location, level, size)

    monkeypatch.setattr(Slide, "region", counted)
    monkeypatch.setattr("omlab_slide.resizing._BLOCK", 256)
    slide = open_slide(pyramid)
    found = slide.overview(600)
    assert found.shape == (450, 600, 3)
    assert max(max(size) for size in asked) <= 256
    means = DRAWING.reshape(450, 2, 600, 2, 3).mean(axis=(1, 3))
    assert np.abs(found - means).max() <= 1
    count = len(asked)
    assert slide.overview(10).shape == (8, 10, 3)
    assert len(asked) == count  # made of the one that is there
    assert slide.nbytes == found.nbytes
    assert slide.thumbnail(size=64).startswith(b"\x89PNG")


def test_alpha_is_laid_on_white():
    pixels = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 128]]], np.uint8)
    np.testing.assert_array_equal(composited(pixels)[0], [[200, 100, 0], [255, 255, 255], [227, 177, 127]])


def test_a_scale_is_what_the_file_says_or_the_user(tmp_path):
    aperio = open_slide(write_pyramid(tmp_path / "a.svs", DRAWING, mpp=0.25, aperio=True))
    assert (aperio.mpp, aperio.properties["openslide.vendor"]) == (0.25, "aperio")
    silent = write_pyramid(tmp_path / "b.tiff", DRAWING, mpp=None)
    slide = open_slide(silent)
    assert slide.mpp is None
    with pytest.raises(InputError, match=r"openslide\.mpp-x.*openslide\.objective-power.*read\.mpp=0\.25") as caught:
        slide.read_at((0, 0), 1.0, (10, 10))
    assert str(silent) in str(caught.value)
    assert open_slide(silent, mpp=0.4).scale == 0.4
    assert omlab.read(silent, kind="slide", mpp=0.4).mpp == 0.4
    with pytest.raises(UsageError):
        held(DRAWING, mpp=-1)


def test_a_scale_that_no_slide_has_is_not_believed(tmp_path):
    path = write_pyramid(tmp_path / "a.tiff", DRAWING, mpp=25400 / 72)  # 72 dots an inch
    with pytest.warns(OmlabWarning, match="which no slide has"):
        slide = open_slide(path)
    assert slide.mpp is None
    with pytest.raises(InputError, match="cannot be believed"):
        _ = slide.scale


def test_a_magnification_alone_is_nominal_and_told():
    from omlab_slide.readers.scale import scale_of

    with pytest.warns(OmlabWarning, match=r"magnification \(aperio\.AppMag 40\).*0\.25"):
        assert scale_of({"aperio.AppMag": "40"}, name="a.svs") == 0.25
    with pytest.warns(OmlabWarning, match="not square"):
        assert scale_of({"openslide.mpp-x": "0.5", "openslide.mpp-y": "0.6"}, name="a.svs") == pytest.approx(0.55)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert scale_of({"aperio.MPP": "0.499", "aperio.AppMag": "40"}, name="a.svs") == 0.499


def test_what_is_no_slide_is_refused_with_what_each_library_says(tmp_path):
    path = tmp_path / "a.svs"
    with pytest.raises(InputError, match="does not exist"):
        open_slide(path)
    path.touch()
    with pytest.raises(InputError, match=r"a\.svs is empty \(0 bytes\): copy"):
        open_slide(path)
    path.write_bytes(b"no slide")
    with pytest.raises(InputError, match=r"a\.svs cannot be opened.*openslide: .*tiffslide: ") as caught:
        open_slide(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no file of the folder"):
        open_slide(tmp_path)
    with pytest.raises(UsageError, match="no reader 'vips'"):
        open_slide(path, reader="vips")


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_a_file_that_was_cut_off_is_refused(tmp_path, pyramid, kept):
    path = tmp_path / "cut.tiff"
    path.write_bytes(pyramid.read_bytes()[: int(kept * pyramid.stat().st_size)])
    with pytest.raises(
        InputError, match=r"tiffslide: it is cut off: it has [\d,]+ bytes, but its tiles reach to [\d,]+"
    ):
        open_slide(path)


def test_levels_and_sizes_that_are_not_there_are_refused():
    slide = held(DRAWING)
    with pytest.raises(UsageError, match="levels 0 to 1, not 2"):
        slide.read((0, 0), 2, (10, 10))
    with pytest.raises(UsageError, match="0 x 10"):
        slide.read((0, 0), 0, (0, 10))


def test_a_plain_picture_is_a_slide_of_one_level_without_a_scale(tmp_path):
    from PIL import Image

    path = tmp_path / "a.png"
    pixels = np.dstack([DRAWING[:90, :120], np.full((90, 120), 255, np.uint8)])
    pixels[:, :10, 3] = 0
    Image.fromarray(pixels).save(path, dpi=(72, 72))
    slide = open_slide(path)
    assert (slide.dimensions, len(slide.levels), slide.mpp) == ((120, 90), 1, None)
    assert (slide.read((0, 0), 0, (10, 90)) == 255).all()
    np.testing.assert_array_equal(slide.read((20, 30), 0, (50, 40)), DRAWING[30:70, 20:70])


def test_a_real_slide(shared_data):
    path = shared_data / "slide" / "cmu-1-small-region.svs"
    first, second = (open_slide(path, reader=name) for name in ("openslide", "tiffslide"))
    assert (first.dimensions, first.mpp, second.mpp) == ((2220, 2967), 0.499, 0.499)
    region = first.read((1000, 1500), 0, (200, 200))
    assert np.abs(region.astype(int) - second.read((1000, 1500), 0, (200, 200))).max() <= 2
    assert first.overview(256).shape == (256, 192, 3)

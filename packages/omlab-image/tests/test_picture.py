"""Files of pictures: every sort of pixel that they hold, told by their content, and what is refused by name."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

import omlab
from omlab.errors import InputError, OmlabWarning, OutputError
from omlab_image import Image, LabelMap2D
from omlab_image.io.picture import MOST_PIXELS, Picture
from omlab_image.testing import example_images, example_labelmaps, odd_images

GREY = np.arange(0, 240, dtype=np.uint8).reshape(12, 20)
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=2)


def _image(path: Path) -> Image:
    found = Picture().read(path, kind="image")
    assert isinstance(found, Image)
    return found


def _labels(path: Path) -> LabelMap2D:
    found = Picture().read(path, kind="labelmap-2d")
    assert isinstance(found, LabelMap2D)
    return found


@pytest.mark.parametrize(
    ("array", "suffix"),
    [(array, suffix) for array in (GREY, COLOUR) for suffix in (".png", ".tif", ".bmp", ".webp")]
    + [(GREY.astype(np.uint16) * 200, ".png"), (GREY.astype(np.uint16) * 200, ".tif")]
    + [((GREY / 255).astype(np.float32), ".tiff")],
)
def test_pixels_come_back(array: np.ndarray, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    Pillow.fromarray(array).save(path, **({"lossless": True} if suffix == ".webp" else {}))
    found = _image(path)
    assert found.source is not None
    assert found.source.path == path
    if suffix == ".webp":  # which knows no grey
        assert (found.rgb() == Image(array=array).rgb()).all()
    else:
        assert found.array.dtype == array.dtype
        assert (found.array == array).all()


def test_jpeg_in_grey_and_in_colour(tmp_path: Path) -> None:
    for array in (GREY, np.full((16, 16, 3), (200, 90, 30), np.uint8)):
        Pillow.fromarray(array).save(tmp_path / "a.jpg", quality=95)
        found = _image(tmp_path / "a.jpg")
        assert found.array.shape == array.shape
        assert np.abs(found.array.astype(int) - array).max() < 25


def test_a_file_is_what_its_first_bytes_say(tmp_path: Path) -> None:
    Pillow.fromarray(COLOUR).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert (_image(tmp_path / "a.jpg").array == COLOUR).all()
    (tmp_path / "a.jpg").rename(tmp_path / "without")
    found = omlab.read(tmp_path / "without")
    assert isinstance(found, Image)
    assert (found.array == COLOUR).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_pictures_are_turned_upright(orientation: int, suffix: str, tmp_path: Path) -> None:
    upright = np.zeros((24, 40, 3), np.uint8)
    upright[:12, :20] = 250  # bright at the top left
    upright[12:, :20] = 120
    turns = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (1, False), 7: (1, True), 8: (3, False)}
    count, mirrored = turns.get(orientation, (0, False))
    stored = np.rot90(upright, count)
    stored = stored[:, ::-1] if mirrored else stored
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    more: dict[str, Any] = {"quality": 95} if suffix == ".jpg" else {"lossless": True} if suffix == ".webp" else {}
    Pillow.fromarray(np.ascontiguousarray(stored)).save(tmp_path / f"a{suffix}", exif=exif, **more)
    assert np.abs(_image(tmp_path / f"a{suffix}").array.astype(int) - upright).mean() < 3


def test_a_palette_becomes_grey_or_colours(tmp_path: Path) -> None:
    indices = np.array([[0, 1], [2, 1]], np.uint8)
    for palette, expected in (
        ([9, 9, 9, 100, 100, 100, 200, 200, 200], [[9, 100], [200, 100]]),
        ([255, 0, 0, 0, 255, 0, 0, 0, 255], [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [0, 255, 0]]]),
    ):
        picture = Pillow.fromarray(indices)
        picture.putpalette(palette)
        picture.save(tmp_path / "a.png")
        assert _image(tmp_path / "a.png").array.tolist() == expected
        assert _labels(tmp_path / "a.png").array.tolist() == indices.tolist()


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    Pillow.fromarray(GREY > 100).save(tmp_path / "a.png")
    assert (_image(tmp_path / "a.png").array == np.where(GREY > 100, 255, 0)).all()
    assert (_labels(tmp_path / "a.png").array == (GREY > 100)).all()


def test_what_is_transparent_is_laid_on_black_with_a_warning(tmp_path: Path) -> None:
    alpha = np.full(GREY.shape, 255, np.uint8)
    Pillow.fromarray(np.dstack([COLOUR, alpha])).save(tmp_path / "opaque.png")
    assert (_image(tmp_path / "opaque.png").array == COLOUR).all()
    alpha[:, :10] = 0
    Pillow.fromarray(np.dstack([COLOUR, alpha])).save(tmp_path / "clear.png")
    with pytest.warns(OmlabWarning, match=r"clear\.png is transparent"):
        found = _image(tmp_path / "clear.png")
    assert not found.array[:, :10].any()
    assert (found.array[:, 10:] == COLOUR[:, 10:]).all()
    Pillow.fromarray(np.dstack([GREY, alpha])).save(tmp_path / "grey.png")
    with pytest.warns(OmlabWarning, match="transparent"):
        assert _image(tmp_path / "grey.png").is_grey


def test_cmyk_is_converted_with_a_warning(tmp_path: Path) -> None:
    Pillow.fromarray(np.full((16, 16, 3), (200, 90, 30), np.uint8)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    with pytest.warns(OmlabWarning, match="CMYK"):
        found = _image(tmp_path / "a.jpg")
    assert np.abs(found.array.astype(int) - (200, 90, 30)).max() < 8


def test_colours_of_16_bits_are_read_as_8_with_a_warning(tmp_path: Path) -> None:
    raw = b"".join(b"\x00" + (COLOUR[row].astype(">u2") * 257).tobytes() for row in range(len(COLOUR)))
    (tmp_path / "a.png").write_bytes(_png(width=20, height=12, bits=16, colour=2, pixels=raw))
    with pytest.warns(OmlabWarning, match="16 bits"):
        assert (_image(tmp_path / "a.png").array == COLOUR).all()


def test_the_first_of_several_pages_is_read_with_a_warning(tmp_path: Path) -> None:
    first, second = Pillow.fromarray(GREY), Pillow.fromarray(255 - GREY)
    for name in ("a.tif", "a.png"):
        first.save(tmp_path / name, save_all=True, append_images=[second])
        with pytest.warns(OmlabWarning, match="2 pages"):
            assert (_image(tmp_path / name).array == GREY).all()


def test_floats_beyond_white_are_warned_about(tmp_path: Path) -> None:
    for array, words in ((GREY.astype(np.float32), "from 0 to 239"), (np.full((4, 4), np.nan, np.float32), "16 of 16")):
        Pillow.fromarray(array).save(tmp_path / "a.tif")
        with pytest.warns(OmlabWarning, match=words):
            _image(tmp_path / "a.tif")


def test_whole_numbers_beyond_16_bits_are_refused(tmp_path: Path) -> None:
    Pillow.fromarray(np.array([[0, 70000]], np.int32)).save(tmp_path / "a.tif")
    for kind in ("image", "labelmap-2d"):
        with pytest.raises(InputError, match="0 to 65535"):
            Picture().read(tmp_path / "a.tif", kind=kind)


def test_a_picture_that_would_fill_the_memory_is_refused_unread(tmp_path: Path) -> None:
    side = int(MOST_PIXELS**0.5) + 1
    (tmp_path / "bomb.png").write_bytes(_png(width=side, height=side, bits=8, colour=0, pixels=b""))
    with pytest.raises(InputError, match=r"bomb\.png has 11,586 x 11,586 pixels"):
        _image(tmp_path / "bomb.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".webp"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.97])
def test_a_file_that_is_cut_short_is_refused(suffix: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"cut{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Pillow.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=r"cut\."):
        _image(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is empty"), (b"GIF89a" + bytes(40), "is no PNG, JPEG"), (b"\x89PNG\r\n\x1a\n" + bytes(9), "damaged")],
)
def test_what_is_no_picture_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=words):
        _image(tmp_path / "a.png")
    with pytest.raises(InputError, match="folder"):
        _image(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        _image(tmp_path / "absent.png")


@settings(max_examples=20)
@given(
    array=st.one_of(
        hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)),
        hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)),
        hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3))),
    ),
    spacing=st.none() | st.tuples(st.floats(1e-4, 50), st.floats(1e-4, 50)),
    depth=st.integers(9, 16),
)
def test_images_come_back_from_png(
    array: np.ndarray, spacing: tuple[float, float] | None, depth: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("png") / "a.png"
    image = Image(array=array, spacing=spacing, bit_depth=depth if array.dtype == np.uint16 else 0)
    Picture().write(image, path)
    found = _image(path)
    assert found.array.dtype == array.dtype
    assert (found.array == array).all()
    assert found.spacing == spacing
    assert found.bit_depth == image.bit_depth


@settings(max_examples=20)
@given(
    array=hnp.arrays(st.sampled_from([np.uint8, np.uint16]), hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)),
    names=st.dictionaries(st.integers(1, 65535), st.text(max_size=12), max_size=4),
)
def test_label_maps_come_back_from_png(
    array: np.ndarray, names: dict[int, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("png") / "a.png"
    Picture().write(LabelMap2D(array=array, names=names), path)
    found = _labels(path)
    assert (found.array == array).all()
    assert found.names == names


def test_a_label_map_is_a_picture_of_its_colours(tmp_path: Path) -> None:
    labelmap = example_labelmaps()[0]
    omlab.write(labelmap, tmp_path / "a.png")
    with Pillow.open(tmp_path / "a.png") as picture:
        assert picture.mode == "P"
        assert len(np.unique(np.array(picture.convert("RGB")).reshape(-1, 3), axis=0)) == 3
    found = omlab.read(tmp_path / "a.png", kind="labelmap-2d")
    assert isinstance(found, LabelMap2D)
    assert found.present() == labelmap.present()


def test_black_and_white_is_one_class(tmp_path: Path) -> None:
    Pillow.fromarray(np.where(GREY > 100, 255, 0).astype(np.uint8)).save(tmp_path / "a.png")
    assert (_labels(tmp_path / "a.png").array == (GREY > 100)).all()


def test_grey_saved_in_colours_is_a_label_map_and_a_photograph_is_none(tmp_path: Path) -> None:
    Pillow.fromarray(np.repeat(GREY[..., None], 3, 2)).save(tmp_path / "a.png")
    assert (_labels(tmp_path / "a.png").array == GREY).all()
    Pillow.fromarray(COLOUR).save(tmp_path / "b.png")
    with pytest.raises(InputError, match="in colour"):
        _labels(tmp_path / "b.png")
    Pillow.fromarray(GREY).save(tmp_path / "c.jpg")
    with pytest.raises(InputError, match="compression changes values"):
        _labels(tmp_path / "c.jpg")


def test_what_png_cannot_hold_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"name it \.png"):
        Picture().write(example_images()[0], tmp_path / "a.jpg")
    with pytest.warns(OmlabWarning, match="written as 8 bits"):
        Picture().write(odd_images()["colour-of-16-bits"], tmp_path / "a.png")
    floats = odd_images()["floats"]
    Picture().write(floats, tmp_path / "b.png")
    assert np.abs(_image(tmp_path / "b.png").unit() - floats.array).max() < 1e-5


def test_a_damaged_text_leaves_the_pixels_readable(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"spacing": [1]}', '{"names": {"a": "b"}}'):
        information = PngInfo()
        information.add_text("omlab", text)
        Pillow.fromarray(GREY).save(tmp_path / "a.png", pnginfo=information)
        with pytest.warns(OmlabWarning, match="damaged and left out"):
            assert (_image(tmp_path / "a.png").array == GREY).all()


def test_real_pictures(shared_data: Path) -> None:
    for path in sorted((shared_data / "pictures").iterdir()) + sorted((shared_data / "slices-2d" / "images").iterdir()):
        assert min(_image(path).shape) > 50
    masks = sorted((shared_data / "slices-2d" / "masks").iterdir())[:3]
    for path in masks:  # without a warning: a folder of masks would give one a file
        assert list(_labels(path).present()) == [1]


def _png(*, width: int, height: int, bits: int, colour: int, pixels: bytes) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(pixels))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")

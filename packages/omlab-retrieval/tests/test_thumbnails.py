import io

import numpy as np
import pytest
from PIL import Image

from omlab_retrieval.thumbnails import SIDE, thumbnail


def seen(path):
    content = thumbnail(path)
    assert content is not None
    image = Image.open(io.BytesIO(content))
    assert (image.format, image.mode) == ("JPEG", "RGB")
    return np.asarray(image, int)


def test_a_large_photograph_becomes_small(tmp_path):
    Image.new("RGB", (1200, 600), (250, 10, 10)).save(tmp_path / "a.jpg")
    assert seen(tmp_path / "a.jpg").shape == (SIDE // 2, SIDE, 3)


def test_it_stands_upright(tmp_path):
    image = Image.new("RGB", (60, 20))
    image.paste((255, 255, 255), (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # is to be turned to the right
    for name in ("a.jpg", "a.tif"):
        image.save(tmp_path / name, exif=exif)
        pixels = seen(tmp_path / name)
        assert pixels.shape == (60, 20, 3)
        assert pixels[:15].mean() > 200 > 50 > pixels[25:].mean()


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_many_bits_are_stretched(tmp_path, dtype):
    ramp = np.tile(np.linspace(1000, 1500, 64), (64, 1)).astype(dtype)
    Image.fromarray(ramp).save(tmp_path / "a.tif")
    pixels = seen(tmp_path / "a.tif")
    assert pixels[:, :3].mean() < 20
    assert pixels[:, -3:].mean() > 235


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "CMYK", "1", "L", "I;16"])
def test_every_mode_is_drawn(tmp_path, mode):
    Image.new(mode, (30, 30)).save(tmp_path / "a.tif")
    assert seen(tmp_path / "a.tif").shape == (30, 30, 3)


def test_what_is_transparent_is_black(tmp_path):
    Image.new("RGBA", (30, 30), (255, 255, 255, 0)).save(tmp_path / "a.png")
    assert seen(tmp_path / "a.png").max() < 5


def test_other_files_have_no_picture(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"\x1f\x8b nothing")
    Image.new("L", (30, 30)).save(tmp_path / "b.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:50])
    assert [thumbnail(tmp_path / name) for name in ("a.nii.gz", "b.png", "gone.png", ".")] == [None] * 4

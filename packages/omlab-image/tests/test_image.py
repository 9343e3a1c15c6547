"""The payloads: what they hold to, and what they say of themselves."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from omlab.errors import GeometryError, InputError, OmlabError, UsageError
from omlab_image import Image, LabelMap2D
from omlab_image.testing import example_images, example_labelmaps
from omlab_payloads.scores import Scores


@pytest.mark.parametrize(
    ("array", "more", "error"),
    [
        (np.zeros((3, 4), np.int16), {}, InputError),
        (np.zeros((3, 4), np.float64), {}, InputError),
        (np.zeros((3, 4, 4), np.uint8), {}, InputError),
        (np.zeros((3, 4, 3, 1), np.uint8), {}, InputError),
        (np.zeros((0, 4), np.uint8), {}, InputError),
        (np.zeros((3, 4), np.uint8), {"bit_depth": 9}, InputError),
        (np.zeros((3, 4), np.float32), {"bit_depth": 16}, InputError),
        (np.zeros((3, 4), np.uint8), {"spacing": (0.1, 0.0)}, GeometryError),
        (np.zeros((3, 4), np.uint8), {"spacing": (0.1,)}, GeometryError),
    ],
)
def test_what_is_no_image_is_refused(array: np.ndarray, more: dict, error: type[OmlabError]) -> None:
    with pytest.raises(error):
        Image(array=array, **more)


def test_white_is_what_the_bits_say() -> None:
    radiograph = Image(array=np.array([[0, 4095]], np.uint16), bit_depth=12)
    assert radiograph.white == 4095
    assert radiograph.unit().tolist() == [[0, 1]]
    assert radiograph.eight_bit().tolist() == [[0, 255]]
    assert Image(array=np.array([[0, 65535]], np.uint16)).bit_depth == 16
    floats = Image(array=np.array([[-1, 0.5, 2]], np.float32))
    assert floats.unit().tolist() == [[0, 0.5, 1]]
    assert floats.eight_bit().tolist() == [[0, 128, 255]]


def test_rgb_of_grey_is_grey() -> None:
    grey = Image(array=np.arange(6, dtype=np.uint8).reshape(2, 3))
    assert grey.is_grey
    assert grey.rgb().shape == (2, 3, 3)
    assert (grey.rgb() == grey.array[..., None]).all()


def test_the_digest_is_of_what_is_seen() -> None:
    grey = example_images()[2]
    assert replace(grey, array=grey.rgb()).digest == grey.digest
    other = grey.array.copy()
    other[3, 4] ^= 1
    assert grey.with_array(other).digest != grey.digest
    assert grey.with_array(np.ascontiguousarray(grey.array.T)).digest != grey.digest


def test_the_grid_is_rows_columns_and_spacing_where_it_is_known() -> None:
    image, labelmap = example_images()[1], example_labelmaps()[1]
    assert labelmap.same_grid(image)
    assert replace(labelmap, spacing=None).same_grid(image)
    assert not replace(labelmap, spacing=(0.139, 0.15)).same_grid(image)
    assert not labelmap.same_grid(example_images()[0])
    assert not labelmap.same_grid(Scores(values={"a": 1.0}))


def test_label_maps_name_their_classes() -> None:
    labelmap = LabelMap2D(array=np.array([[0, 2], [5, 2]], np.uint8), names={2: "lesion"})
    assert labelmap.present() == {2: "lesion", 5: "label 5"}
    assert labelmap.named({5: "vessel"}).present() == {2: "label 2", 5: "vessel"}
    with pytest.raises(InputError):
        LabelMap2D(array=np.zeros((2, 2), np.int64))


def test_an_overlay_wants_its_image() -> None:
    image, labelmap = example_images()[0], example_labelmaps()[0]
    with pytest.raises(UsageError, match="drawn over an image"):
        labelmap.overlay({"text": Scores(values={"a": 1.0})})
    with pytest.raises(UsageError, match="outlined"):
        labelmap.overlay({"image": image}, target=Scores(values={"a": 1.0}))


def test_the_plugin_is_light() -> None:
    code = "import sys, omlab_image.plugin; print([m for m in ('numpy', 'torch', 'PIL') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"

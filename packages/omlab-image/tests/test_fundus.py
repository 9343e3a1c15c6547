"""The round field of view of fundus photographs: found where there is one, and told where not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab.errors import OmlabWarning
from omlab_image import Image
from omlab_image.fundus import fundus_circle
from omlab_image.io.picture import Picture
from omlab_image.transforms import fundus_crop


def _fundus(height: int, width: int, *, row: float, column: float, radius: float, seed: int = 0) -> Image:
    """Darker towards its edge, with a bright disc and dark vessels, on a surround with noise."""
    draw = np.random.default_rng(seed)
    rows, columns = np.ogrid[:height, :width]
    far = np.hypot(rows - row, columns - column) / radius
    light = 120 * (1 - 0.6 * far**2) + np.where(np.abs(np.sin(columns / radius * 9 + rows / 30)) < 0.05, -25, 0)
    light = np.where(np.hypot(rows - row, columns - column - radius / 2) < radius / 8, 230, light)
    colour = np.where(far[..., None] <= 1, light[..., None] * np.array([1, 0.6, 0.3]), 4)
    return Image(array=np.clip(colour + draw.normal(0, 3, colour.shape), 0, 255).astype(np.uint8))


@settings(max_examples=12)
@given(
    radius=st.floats(90, 140),
    shift=st.tuples(st.floats(-40, 40), st.floats(-60, 60)),
    seed=st.integers(0, 1000),
)
def test_the_circle_is_found_off_centre_and_cut(radius: float, shift: tuple[float, float], seed: int) -> None:
    row, column = 150 + shift[0], 200 + shift[1]
    found = fundus_circle(_fundus(300, 400, row=row, column=column, radius=radius, seed=seed))
    assert found is not None
    assert np.abs(np.subtract(found, (row, column, radius))).max() < 0.02 * radius + 1


def test_large_pictures_are_measured_on_a_reduced_one() -> None:
    found = fundus_circle(_fundus(1200, 1600, row=610, column=777, radius=555))
    assert found is not None
    assert np.abs(np.subtract(found, (610, 777, 555))).max() < 4


def test_the_crop_is_a_square_of_the_circle() -> None:
    image = _fundus(300, 400, row=150, column=180, radius=130)
    crop = fundus_crop(image)
    assert abs(crop.shape[0] - 261) <= 3
    assert crop.shape[0] == crop.shape[1]
    assert not crop.array[:20, :20].any()
    middle = crop.shape[0] // 2
    assert (crop.array[middle, middle] == image.array[150, 180]).mean() >= 0  # the very pixels, moved
    assert abs(int(crop.array.max()) - int(image.array.max())) < 3
    again = fundus_crop(crop)
    assert abs(again.shape[0] - crop.shape[0]) <= 4


def test_a_circle_that_is_cut_off_is_filled_with_black() -> None:
    crop = fundus_crop(_fundus(200, 400, row=100, column=200, radius=130))
    assert abs(crop.shape[0] - 261) <= 5
    assert not crop.array[:25].any()
    assert not crop.array[-25:].any()


def test_what_is_written_beside_the_circle_goes_and_does_not_harm() -> None:
    image = _fundus(300, 400, row=150, column=200, radius=120)
    array = image.array.copy()
    array[5:15, 5:60] = 255  # a date
    array[140:160, 318:330] = 120  # a notch at the edge
    found = fundus_circle(Image(array=array))
    assert found is not None
    assert np.abs(np.subtract(found, (150, 200, 120))).max() < 4
    assert fundus_crop(Image(array=array)).array[:15, :60].max() < 60


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((80, 90, 3), np.uint8),
        np.full((80, 90), 200, np.uint8),
        np.random.default_rng(0).integers(0, 256, (120, 120, 3), dtype=np.uint8),
        np.pad(np.full((60, 60), 180, np.uint8), 30),  # a bright square on black
        np.full((3, 3), 9, np.uint8),
        np.full((40, 40), np.nan, np.float32),
    ],
    ids=["black", "bright", "noise", "square", "tiny", "nan"],
)
def test_one_warning_says_that_there_is_no_circle(array: np.ndarray) -> None:
    image = Image(array=array)
    with pytest.warns(OmlabWarning, match="no round field of view") as heard:
        assert fundus_crop(image) is image
    assert len(heard) == 1


def test_a_real_photograph(shared_data: Path) -> None:
    photograph = Picture().read(shared_data / "pictures" / "retina.jpg", kind="image")
    assert isinstance(photograph, Image)
    assert 1385 <= fundus_crop(photograph).shape[0] <= 1405
    tissue = Picture().read(shared_data / "pictures" / "ihc.png", kind="image")
    assert isinstance(tissue, Image)
    assert fundus_circle(tissue) is None

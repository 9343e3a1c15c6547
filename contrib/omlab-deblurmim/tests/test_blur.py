"""Blurs: any type and colour, and what cannot be. Their numbers are OpenCV's (golden/blur.json)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab.errors import SettingsError
from omlab_deblurmim.blur import Blur, Method, disk, gaussian_taps, path

METHODS: tuple[Method, ...] = ("gaussian", "mean", "median", "motion", "defocus")


def picture(*shape: int, dtype: str = "uint8") -> Any:
    values = np.random.default_rng(0).random(shape)
    return values.astype(np.float32) if dtype == "float32" else (values * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_types_shapes_and_flat_pictures_stay(method: Method, dtype: str) -> None:
    blur = Blur(method=method)
    image = picture(21, 30, 3, dtype=dtype)
    blurred = blur(image)
    assert blurred.dtype == image.dtype
    assert blurred.shape == image.shape
    assert blurred.astype(float).std() < image.astype(float).std()
    flat = np.full((9, 11), 7, dtype=dtype)
    np.testing.assert_allclose(blur(flat), flat, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_each_colour_is_blurred_alone(method: Method) -> None:
    image = picture(12, 13, 3)
    for colour in range(3):
        np.testing.assert_array_equal(Blur(method=method)(image)[..., colour], Blur(method=method)(image[..., colour]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (2, 3)])
def test_small_pictures_are_blurred_too(method: Method, shape: tuple[int, int]) -> None:
    assert Blur(method=method)(picture(*shape)).shape == shape


def test_motion_alone_looks_at_the_seed() -> None:
    image = picture(20, 20)
    for method in METHODS:
        blur = Blur(method=method)
        differs = any(not np.array_equal(blur(image, seed=seed), blur(image)) for seed in range(1, 5))
        assert differs is (method == "motion")


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.sampled_from([1, 3, 5, 9]))
def test_a_motion_is_a_connected_path(seed: int, size: int) -> None:
    kernel = path(size, seed=seed)
    assert kernel.sum() == pytest.approx(1)
    places = np.argwhere(kernel)
    assert len(places) == np.ptp(places, axis=0).max() + 1
    assert len(places) >= min(2, size)


def test_kernels_sum_to_one() -> None:
    for kernel in (gaussian_taps(1.1), gaussian_taps(3.0), disk(5)):
        assert kernel.sum() == pytest.approx(1)
    assert len(gaussian_taps(1.1)) == 9


@pytest.mark.parametrize("wrong", [{"method": "srad"}, {"sigma": 0.0}, {"size": 4}, {"radius": 0}])
def test_what_cannot_be_is_said(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="blur"):
        Blur(**wrong)

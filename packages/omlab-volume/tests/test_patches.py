"""Patches lie where they should, hold what they should, and turn about their centre."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab_volume.training.patches import cut, cut_turned, draw_start, foreground_locations

SIZES = st.tuples(*[st.integers(1, 9)] * 3)


def labelled(shape: tuple[int, ...], *, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.choice(np.array([0, 0, 0, 1, 7], dtype=np.uint8), size=shape)


@settings(max_examples=40, deadline=None)
@given(shape=SIZES, seed=st.integers(0, 999), limit=st.integers(1, 40))
def test_locations_are_voxels_of_their_class(shape: tuple[int, int, int], seed: int, limit: int) -> None:
    labels = labelled(shape, seed=seed)
    locations = foreground_locations(labels, np.random.default_rng(seed), limit=limit)
    assert list(locations) == sorted(set(np.unique(labels)) - {0})
    for value, voxels in locations.items():
        assert (labels[tuple(voxels.T)] == value).all()
        assert len(np.unique(voxels, axis=0)) == len(voxels) == min(limit, int((labels == value).sum()))


@settings(max_examples=60, deadline=None)
@given(shape=SIZES, patch=SIZES, seed=st.integers(0, 999), forced=st.booleans())
def test_a_patch_stays_inside_and_holds_its_class(
    shape: tuple[int, int, int], patch: tuple[int, int, int], seed: int, forced: bool
) -> None:
    labels = labelled(shape, seed=seed)
    rng = np.random.default_rng(seed)
    around = foreground_locations(labels, rng)
    start = draw_start(shape, rng, patch_size=patch, around=around if forced else None)
    for first, n, p in zip(start, shape, patch, strict=True):
        if n >= p:
            assert 0 <= first <= n - p
        else:
            assert first == -((p - n) // 2)
    found = cut(labels, start=start, patch_size=patch)
    assert found.shape == patch
    padded = np.pad(labels, 20)
    expected = padded[tuple(slice(20 + f, 20 + f + p) for f, p in zip(start, patch, strict=True))]
    assert np.array_equal(found, expected)
    if forced and around:
        assert found.any()


def test_classes_are_equally_likely_and_places_vary() -> None:
    labels = np.zeros((40, 40, 40), dtype=np.uint8)
    labels[:20] = 1
    labels[39, 39, 39] = 2
    rng = np.random.default_rng(0)
    around = foreground_locations(labels, rng, limit=50)
    starts = [draw_start(labels.shape, rng, patch_size=(4, 4, 4), around=around) for _ in range(300)]
    rare = sum(cut(labels, start=start, patch_size=(4, 4, 4)).max() == 2 for start in starts)
    assert 110 <= rare <= 190
    everywhere = {draw_start(labels.shape, rng, patch_size=(4, 4, 4)) for _ in range(200)}
    assert np.ptp(np.array(list(everywhere)), axis=0).min() >= 34, "both ends of every axis are reached"


def test_cut_is_a_copy() -> None:
    image = np.zeros((1, 4, 4, 4), dtype=np.float32)
    cut(image, start=(0, 0, 0), patch_size=(2, 2, 2))[:] = 1
    assert not image.any()


@settings(max_examples=20, deadline=None)
@given(shape=SIZES, patch=SIZES, seed=st.integers(0, 999))
def test_turning_by_nothing_is_cutting(shape: tuple[int, int, int], patch: tuple[int, int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.standard_normal((2, *shape)).astype(np.float32)
    start = draw_start(shape, rng, patch_size=patch)
    turned = cut_turned(image, start=start, patch_size=patch, matrix=np.eye(3), order=1)
    assert turned.dtype == np.float32
    np.testing.assert_allclose(turned, cut(image, start=start, patch_size=patch), atol=1e-6)


def test_a_quarter_turn_about_the_centre() -> None:
    labels = labelled((9, 9, 9), seed=3)
    quarter = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    turned = cut_turned(labels, start=(2, 1, 1), patch_size=(5, 7, 7), matrix=quarter, order=0)
    assert turned.dtype == labels.dtype
    inside = cut(labels, start=(2, 1, 1), patch_size=(5, 7, 7))
    expected = np.empty_like(inside)
    for y in range(7):
        for x in range(7):
            expected[:, y, x] = inside[:, 6 - x, y]  # (y, x) from the centre looks at (-x, y)
    assert np.array_equal(turned, expected)


def test_labels_and_image_turn_alike() -> None:
    z, y, x = np.indices((24, 24, 24))
    labels = ((z - 10) ** 2 + (y - 14) ** 2 + (x - 12) ** 2 / 4 < 30).astype(np.uint8)
    angle = np.deg2rad(25)
    matrix = 1.2 * np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    where = {"start": (4, 4, 4), "patch_size": (16, 16, 16), "matrix": matrix}
    image = cut_turned(labels[None].astype(np.float32), **where, order=1)[0]
    turned = cut_turned(labels, **where, order=0)
    linear = image > 0.5
    assert 2 * (linear & (turned > 0)).sum() / (linear.sum() + turned.sum()) > 0.95
    assert 2 * (cut(labels, start=(4, 4, 4), patch_size=(16, 16, 16)) & turned).sum() / (2 * turned.sum()) < 0.95

"""Each random change does what it says, leaves its input alone, and is the same for the same generator."""

from __future__ import annotations

import numpy as np
import pytest

from omlab_volume.training.augment import (
    INTENSITY,
    Transform,
    augment,
    blur,
    brightness,
    contrast,
    gamma,
    inverted_gamma,
    low_resolution,
    mirror,
    noise,
    spatial_matrix,
)

SHAPE = (2, 12, 10, 9)
TRANSFORMS = [transform for _, transform in INTENSITY] + [mirror]


def patch(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    image = rng.standard_normal(SHAPE, dtype=np.float32) * 1.5 + 0.3
    return image, rng.integers(0, 3, SHAPE[1:], dtype=np.uint8)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_pure_and_repeatable(transform: Transform) -> None:
    image, labels = patch()
    image.setflags(write=False)
    labels.setflags(write=False)
    changed = False
    for seed in range(8):
        first, first_labels = transform(image, labels, np.random.default_rng(seed))
        second, second_labels = transform(image, labels, np.random.default_rng(seed))
        assert np.array_equal(first, second)
        assert np.array_equal(first_labels, second_labels)
        assert first.dtype == np.float32
        assert first.shape == SHAPE
        assert first_labels.dtype == np.uint8
        assert np.isfinite(first).all()
        changed |= not np.array_equal(first, image)
    assert changed


@pytest.mark.parametrize("transform", [t for t in TRANSFORMS if t not in (noise, mirror)])
def test_constant_patches_stay_finite(transform: Transform) -> None:
    image = np.full(SHAPE, -2.0, dtype=np.float32)
    for seed in range(6):
        found, _ = transform(image, np.zeros(SHAPE[1:], np.uint8), np.random.default_rng(seed))
        assert np.isfinite(found).all()
        assert np.ptp(found, axis=(1, 2, 3)).max() < 1e-6


def test_noise_has_the_stated_deviation() -> None:
    zeros = np.zeros((1, 40, 40, 40), dtype=np.float32)
    deviations = [noise(zeros, zeros[0], np.random.default_rng(seed))[0].std() for seed in range(60)]
    assert max(deviations) < 0.102
    assert np.mean(deviations) == pytest.approx(0.05, abs=0.012)


def test_blur_and_low_resolution_smooth_about_half_of_the_channels() -> None:
    image, labels = patch()
    for transform in (blur, low_resolution):
        smoothed = 0
        for seed in range(60):
            found, _ = transform(image, labels, np.random.default_rng(seed))
            for channel, before in zip(found, image, strict=True):
                if not np.array_equal(channel, before):
                    assert channel.std() < before.std()
                    smoothed += 1
        assert 40 <= smoothed <= 80


def test_brightness_scales_each_channel() -> None:
    image, labels = patch()
    found, _ = brightness(image, labels, np.random.default_rng(1))
    factors = [float((a / b).mean()) for a, b in zip(found, image, strict=True)]
    assert all(0.75 <= factor <= 1.25 for factor in factors)
    assert factors[0] != pytest.approx(factors[1])
    for factor, a, b in zip(factors, found, image, strict=True):
        np.testing.assert_allclose(a, factor * b, rtol=1e-5)


def test_contrast_keeps_the_range() -> None:
    image, labels = patch()
    spreads = []
    for seed in range(20):
        found, _ = contrast(image, labels, np.random.default_rng(seed))
        assert found.min() >= image.min()
        assert found.max() <= image.max()
        spreads += list(found.std((1, 2, 3)) / image.std((1, 2, 3)))
    assert min(spreads) < 0.85
    assert max(spreads) > 1.15


@pytest.mark.parametrize("transform", [gamma, inverted_gamma])
def test_gamma_keeps_mean_deviation_and_order(transform: Transform) -> None:
    image, labels = patch()
    for seed in range(6):
        found, _ = transform(image, labels, np.random.default_rng(seed))
        np.testing.assert_allclose(found.mean((1, 2, 3)), image.mean((1, 2, 3)), atol=1e-4)
        np.testing.assert_allclose(found.std((1, 2, 3)), image.std((1, 2, 3)), rtol=1e-4)
        for a, b in zip(found, image, strict=True):
            assert (np.diff(a.ravel()[np.argsort(b, axis=None)]) >= -1e-5).all()


def test_mirror_flips_image_and_labels_alike_along_its_axes() -> None:
    labels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    image = np.stack([labels, labels]).astype(np.float32)
    seen = set()
    for seed in range(40):
        found, found_labels = mirror(image, labels, np.random.default_rng(seed), axes=(0, 2))
        assert np.array_equal(found[0], found_labels)
        assert np.array_equal(found[1], found_labels)
        seen.add(int(found_labels[0, 0, 0]))
    assert seen == {0, 3, 12, 15}, "corners reached by flips along z and x alone"


def test_spatial_matrix_turns_and_scales_within_range() -> None:
    rng = np.random.default_rng(0)
    drawn = [spatial_matrix(rng, patch_size=(32, 32, 32)) for _ in range(2000)]
    matrices = [matrix for matrix in drawn if matrix is not None]
    assert len(matrices) / len(drawn) == pytest.approx(1 - 0.8**2, abs=0.04)
    scales = np.array([np.cbrt(np.linalg.det(matrix)) for matrix in matrices])
    assert scales.min() >= 0.7 - 1e-9
    assert scales.max() <= 1.4 + 1e-9
    for scale, matrix in zip(scales, matrices, strict=True):
        np.testing.assert_allclose(matrix @ matrix.T, scale**2 * np.eye(3), atol=1e-9)
    turned = [m for m, scale in zip(matrices, scales, strict=True) if not np.allclose(m, scale * np.eye(3))]
    assert len(turned) / len(drawn) == pytest.approx(0.2, abs=0.04)


def test_flat_patches_turn_in_their_plane() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        matrix = spatial_matrix(rng, patch_size=(8, 64, 64))
        if matrix is not None:
            np.testing.assert_allclose(matrix[0, 1:], 0)
            np.testing.assert_allclose(matrix[1:, 0], 0)


def test_augment_is_repeatable_and_keeps_the_labels_but_for_flips() -> None:
    image, labels = patch()
    counts = np.bincount(labels.ravel())
    results = []
    for seed in range(10):
        found, found_labels = augment(image, labels, np.random.default_rng(seed))
        again, _ = augment(image, labels, np.random.default_rng(seed))
        assert np.array_equal(found, again)
        assert np.array_equal(np.bincount(found_labels.ravel()), counts)
        results.append(found)
    assert not all(np.array_equal(results[0], other) for other in results[1:])

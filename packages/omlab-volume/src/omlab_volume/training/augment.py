"""Random changes of a training patch, with nnU-Net's probabilities and ranges.

Every transform is a pure function of `image` (C, Z, Y, X) float32, normalised, `labels` (Z, Y, X) and a
generator, and gives both anew. Rotation and scaling are drawn here (`spatial_matrix`) and applied where the
patch is cut out of its case (`omlab_volume.training.patches`), so that the corners hold real tissue.

Two interpolations are cheaper than nnU-Net's, so that two cores keep up with a small network: rotated and
scaled images are sampled linearly (nnU-Net: cubic) and their labels by the nearest voxel (linear per class);
the low-resolution simulation goes back up linearly (cubic).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]

Image = NDArray[np.float32]
Labels = NDArray[np.integer]
Transform = Callable[[Image, Labels, Generator], tuple[Image, Labels]]

ROTATION_DEGREES = 30.0
SCALING = (0.7, 1.4)
SPATIAL_PROBABILITY = 0.2
"""Of rotation and of scaling, each."""


def spatial_matrix(rng: Generator, *, patch_size: Sequence[int]) -> NDArray[np.float64] | None:
    """Draw a rotation (up to 30 degrees about each axis) and a scaling of 0.7 to 1.4, each with probability 0.2.

    Returns the (3, 3) matrix from voxels of the patch to voxels of the case, both from their centres, or None
    where nothing was drawn. A flat patch (longest over shortest side above 3) turns about its short axis only.
    """
    matrix = np.eye(3)
    changed = False
    if rng.random() < SPATIAL_PROBABILITY:
        angles = np.deg2rad(rng.uniform(-ROTATION_DEGREES, ROTATION_DEGREES, size=3))
        if max(patch_size) / min(patch_size) > 3:
            angles[np.arange(3) != int(np.argmin(patch_size))] = 0.0
        for axis, angle in enumerate(angles):
            matrix = matrix @ _rotation(axis, angle)
        changed = True
    if rng.random() < SPATIAL_PROBABILITY:
        # Below and above 1 are equally likely, whatever the length of either side of the range.
        below = rng.random() < 0.5
        matrix = matrix * rng.uniform(*((SCALING[0], 1.0) if below else (1.0, SCALING[1])))
        changed = True
    return matrix if changed else None


def _rotation(axis: int, angle: float) -> NDArray[np.float64]:
    a, b = (other for other in range(3) if other != axis)
    matrix = np.eye(3)
    matrix[a, a] = matrix[b, b] = np.cos(angle)
    matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
    return matrix


def noise(image: Image, labels: Labels, rng: Generator) -> tuple[Image, Labels]:
    """Add Gaussian noise of a standard deviation of 0 to 0.1 (nnU-Net calls it the variance, but uses it so)."""
    deviation = np.float32(rng.uniform(0.0, 0.1))
    return image + deviation * rng.standard_normal(image.shape, dtype=np.float32), labels


def blur(image: Image, labels: Labels, rng: Generator) -> tuple[Image, Labels]:
    """Blur each channel, with probability 0.5, by a Gaussian of 0.5 to 1 voxel."""
    return _some_channels(image, rng, lambda channel: _blurred(channel, rng.uniform(0.5, 1.0))), labels


def _blurred(channel: Image, sigma: float) -> Image:
    result: Image = ndimage.gaussian_filter(channel, sigma)
    return result


def brightness(image: Image, labels: Labels, rng: Generator) -> tuple[Image, Labels]:
    """Multiply each channel by 0.75 to 1.25."""
    return image * _per_channel(rng.uniform(0.75, 1.25, size=len(image))), labels


def contrast(image: Image, labels: Labels, rng: Generator) -> tuple[Image, Labels]:
    """Stretch each channel about its mean by 0.75 to 1.25, cut to the range that it had."""
    axes = (1, 2, 3)
    mean = image.mean(axes, keepdims=True)
    stretched = (image - mean) * _per_channel(rng.uniform(0.75, 1.25, size=len(image))) + mean
    return np.clip(stretched, image.min(axes, keepdims=True), image.max(axes, keepdims=True)), labels


def low_resolution(image: Image, labels: Labels, rng: Generator) -> tuple[Image, Labels]:
    """Shrink each channel, with probability 0.5, by 0.5 to 1 (nearest voxel) and enlarge it again (linear)."""
    return _some_channels(image, rng, lambda channel: _coarse(channel, rng.uniform(0.5, 1.0))), labels


def _coarse(channel: Image, zoom: float) -> Image:
    small = [max(1, round(n * zoom)) for n in channel.shape]
    tensor = torch.from_numpy(channel.copy())[None, None]
    down = torch.nn.functional.interpolate(tensor, size=small, mode="nearest-exact")
    up = torch.nn.functional.interpolate(down, size=channel.shape, mode="trilinear", align_corners=False)
    result: Image = up[0, 0].numpy()
    return result


def gamma(image: Image, labels: Labels, rng: Generator) -> tuple[Image, Labels]:
    """Raise each channel, scaled to 0..1, to a power of 0.7 to 1.5; its mean and deviation are kept."""
    return np.stack([_gamma(channel, _gamma_power(rng)) for channel in image]), labels


def inverted_gamma(image: Image, labels: Labels, rng: Generator) -> tuple[Image, Labels]:
    """`gamma` of the negative image."""
    return np.stack([-_gamma(-channel, _gamma_power(rng)) for channel in image]), labels


def _gamma_power(rng: Generator) -> float:
    return float(rng.uniform(0.7, 1.0) if rng.random() < 0.5 else rng.uniform(1.0, 1.5))


def _gamma(channel: Image, power: float) -> Image:
    low, span, deviation = channel.min(), np.ptp(channel), channel.std()
    if span < 1e-7 or deviation < 1e-7:  # a constant patch (padding, air) has no contrast to change
        return channel
    bent = ((channel - low) / span) ** np.float32(power)
    result: Image = (bent - bent.mean()) / (bent.std() + 1e-8) * deviation + channel.mean()
    return result


def mirror(image: Image, labels: Labels, rng: Generator, *, axes: Sequence[int] = (0, 1, 2)) -> tuple[Image, Labels]:
    """Flip along each of `axes` (of Z, Y, X) with probability 0.5."""
    chosen = tuple(axis for axis in axes if rng.random() < 0.5)
    return np.flip(image, tuple(axis + 1 for axis in chosen)), np.flip(labels, chosen)


INTENSITY: tuple[tuple[float, Transform], ...] = (
    (0.1, noise),
    (0.2, blur),
    (0.15, brightness),
    (0.15, contrast),
    (0.25, low_resolution),
    (0.1, inverted_gamma),
    (0.3, gamma),
)
"""Changes of intensity in their order, each with its probability per patch."""


def augment(
    image: Image, labels: Labels, rng: Generator, *, mirror_axes: Sequence[int] = (0, 1, 2)
) -> tuple[Image, Labels]:
    """All changes but the spatial ones, each with its probability; mirroring last."""
    for probability, transform in INTENSITY:
        if rng.random() < probability:
            image, labels = transform(image, labels, rng)
    return mirror(image, labels, rng, axes=mirror_axes)


def _per_channel(values: NDArray[np.float64]) -> Image:
    return values.astype(np.float32)[:, None, None, None]


def _some_channels(image: Image, rng: Generator, change: Callable[[Image], Image]) -> Image:
    return np.stack([change(channel) if rng.random() < 0.5 else channel for channel in image])

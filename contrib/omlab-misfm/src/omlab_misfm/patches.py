"""Two patches of one volume for Volume Fusion: cropped at any place and scale, flipped, their intensities changed.

Arrays are (C, Z, Y, X) float32. Source: PyMIC's transform for Volume Fusion (fact sheet of MIS-FM, 6), whose order of
draws is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from omlab_misfm.draws import Draws

Image = NDArray[np.float32]

SCALES = (0.7, 1.5)
"""Of a crop's sides, relative to the patch."""
LOW = (0.1, 2.0)
HIGH = (98.0, 99.9)
"""Percentiles between which most of the range of values goes."""
GAMMA = (0.7, 1.5)
INVERTED = 0.25
"""How often both patches are turned bright to dark."""


def two_patches(
    volume: Image,
    draws: Draws,
    *,
    size: Sequence[int],
    lower: Sequence[float] = (SCALES[0],) * 3,
    upper: Sequence[float] = (SCALES[1],) * 3,
    spatial: bool = True,
    intensity: bool = True,
) -> tuple[Image, Image]:
    """Two random patches of `volume`; with `intensity` all values are in [0, 1].

    Drawn: the crop of each; the flips of each; percentiles and gamma of each; whether both are inverted.

    Args:
        volume: (C, Z, Y, X), any values.
        draws: Random numbers.
        size: Of a patch (z, y, x).
        lower: The smallest scale on each axis.
        upper: The largest.
        spatial: Crop at any scale and flip; else crops have the patch's size.
        intensity: Change the values.
    """
    scale = (lower, upper) if spatial else ((1.0,) * 3, (1.0,) * 3)
    patches = [_crop(volume, draws, size=size, lower=scale[0], upper=scale[1]) for _ in range(2)]
    if spatial:
        patches = [_flipped(patch, draws) for patch in patches]
    if intensity:
        patches = [_changed(patch, draws) for patch in patches]
        if draws.random() < INVERTED:
            patches = [1 - patch for patch in patches]
    first, second = patches
    return first, second


def stretched(channel: Image, *, low: float, high: float) -> Image:
    """`channel` on [0, 1]: a tenth for what is below the percentile `low`, a tenth for what is above `high`.

    Linear in each of the three ranges; one value throughout becomes 0.
    """
    least, most = float(channel.min()), float(channel.max())
    below, above = np.percentile(channel, [low, high])
    if least == most:
        return np.zeros_like(channel)
    return np.interp(channel, *_increasing([least, below, above, most], [0.0, 0.1, 0.9, 1.0])).astype(np.float32)


def bent(channel: Image, *, gamma: float) -> Image:
    """`channel`, scaled to 0..1 and back, raised to the power `gamma`."""
    least, span = channel.min(), np.ptp(channel)
    if span == 0:
        return channel
    result: Image = ((channel - least) / span) ** np.float32(gamma) * span + least
    return result


def _crop(volume: Image, draws: Draws, *, size: Sequence[int], lower: Sequence[float], upper: Sequence[float]) -> Image:
    """A box of `volume` at most as large as this is, linearly resized to `size`."""
    scales = [low + (high - low) * draws.random() for low, high in zip(lower, upper, strict=True)]
    sides = [max(1, min(int(n * scale), have)) for n, scale, have in zip(size, scales, volume.shape[1:], strict=True)]
    starts = [draws.randint(0, have - side) for side, have in zip(sides, volume.shape[1:], strict=True)]
    z, y, x = (slice(start, start + side) for start, side in zip(starts, sides, strict=True))
    box = np.array(volume[:, z, y, x], np.float32)
    if list(box.shape[1:]) == list(size):
        return box
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(box)[None], size=tuple(size), mode="trilinear", align_corners=True
    )
    result: Image = resized[0].numpy()
    return result


def _flipped(patch: Image, draws: Draws) -> Image:
    axes = tuple(axis for axis in (-1, -2, -3) if draws.random() > 0.5)
    return np.flip(patch, axes)


def _changed(patch: Image, draws: Draws) -> Image:
    low, high = draws.uniform(*LOW), draws.uniform(*HIGH)
    gamma = GAMMA[0] + (GAMMA[1] - GAMMA[0]) * draws.random()
    return np.stack([bent(stretched(channel, low=low, high=high), gamma=gamma) for channel in patch])


def _increasing(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """The points without those that share their place with the one before: there is nothing between them."""
    kept = [n for n in range(len(x)) if n == 0 or x[n] > x[n - 1]]
    return [x[n] for n in kept], [y[n] for n in kept]

"""The blurs of deblurring pre-training, at the one strength that upstream gives each; what models then expect.

Upstream blurs a data set beforehand, with OpenCV and albumentations on 8-bit grey images. Here images are blurred as
they are read, in the resolution that they have (the widths are in pixels of the original), before anything is cut out.
Borders are mirrored without repeating the last pixel (OpenCV's reflect-101), but for the median, which repeats it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from omlab.errors import SettingsError

Method = Literal["gaussian", "mean", "median", "motion", "defocus"]
Floats = NDArray[np.float64]

SIGMA = 1.1
"""Of the published weights, in pixels."""


@dataclass(frozen=True, kw_only=True)
class Blur:
    """(image, seed) -> the image, blurred; a pure function of both, and only "motion" looks at the seed.

    Attributes:
        method: Upstream's name; "gaussian" is that of the published weights.
        sigma: Of "gaussian".
        size: Side of the box ("mean"), the window ("median") or the path ("motion").
        radius: Of the disk ("defocus").

    Raises `SettingsError` for a value that cannot be.
    """

    method: Method = "gaussian"
    sigma: float = SIGMA
    size: int = 5
    radius: int = 5

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise SettingsError(f"The blur is '{self.method}', but must be one of {', '.join(get_args(Method))}.")
        for name, number, right, words in (
            ("sigma", self.sigma, self.sigma > 0, "above 0"),
            ("size", self.size, self.size >= 1 and self.size % 2 == 1, "odd"),
            ("radius", self.radius, self.radius >= 1, "at least 1"),
        ):
            if not right:
                raise SettingsError(f"{name} of the blur is {number}, but must be {words}.")

    def __call__(self, image: NDArray[Any], *, seed: int = 0) -> NDArray[Any]:
        """Of [H, W] or [H, W, 3] of any type, which stays; integers are rounded."""
        found = self._of_channel(seed)
        channels = image[..., None] if image.ndim == 2 else image
        blurred = np.stack([found(one.astype(np.float64)) for one in np.moveaxis(channels, -1, 0)], axis=-1)
        blurred = blurred.reshape(image.shape)
        if np.issubdtype(image.dtype, np.integer):
            limits = np.iinfo(image.dtype)
            blurred = np.clip(np.rint(blurred), limits.min, limits.max)
        return blurred.astype(image.dtype)

    def _of_channel(self, seed: int) -> Callable[[Floats], Floats]:
        from scipy import ndimage  # type: ignore[import-untyped]

        if self.method == "median":
            return lambda x: np.asarray(ndimage.median_filter(x, size=self.size, mode="nearest"), dtype=np.float64)
        if self.method == "gaussian":
            taps = gaussian_taps(self.sigma)
            return lambda x: _along_both(x, taps)
        if self.method == "mean":
            return lambda x: _along_both(x, np.full(self.size, 1 / self.size))
        kernel = disk(self.radius) if self.method == "defocus" else path(self.size, seed=seed)
        return lambda x: np.asarray(ndimage.correlate(x, kernel, mode="mirror"), dtype=np.float64)


def _along_both(x: Floats, taps: Floats) -> Floats:
    from scipy import ndimage

    rows = ndimage.correlate1d(x, taps, axis=0, mode="mirror")
    return np.asarray(ndimage.correlate1d(rows, taps, axis=1, mode="mirror"), dtype=np.float64)


def gaussian_taps(sigma: float) -> Floats:
    """The weights of OpenCV's Gaussian for 8-bit images: round(6 sigma + 1) of them, made odd, which sum to 1."""
    count = round(6 * sigma + 1) | 1
    steps = np.arange(count) - count // 2
    taps = np.exp(-(steps**2) / (2 * sigma**2))
    return np.asarray(taps / taps.sum(), dtype=np.float64)


def disk(radius: int) -> Floats:
    """The kernel of a lens out of focus: a disk that sums to 1.

    Upstream smooths it by a Gaussian of 0.01 pixels, which changes nothing.
    """
    steps = np.arange(-radius, radius + 1)
    inside = (steps[:, None] ** 2 + steps**2 <= radius**2).astype(np.float64)
    return np.asarray(inside / inside.sum(), dtype=np.float64)


def path(size: int, *, seed: int) -> Floats:
    """The kernel of a motion: a straight line between two random places of a `size` x `size` square, summing to 1."""
    kernel = np.zeros((size, size))
    if size == 1:
        return kernel + 1
    random = np.random.default_rng(seed)
    rows, columns = np.divmod(random.choice(size * size, size=2, replace=False), size)  # of its two ends
    count = 1 + int(max(np.ptp(rows), np.ptp(columns)))
    along = [np.rint(np.linspace(ends[0], ends[1], count)).astype(int) for ends in (rows, columns)]
    kernel[along[0], along[1]] = 1
    return np.asarray(kernel / kernel.sum(), dtype=np.float64)

"""Colours of percentiles: from blue (low) over grey to red (high), told apart by the colour-blind too."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_STOPS = np.array([0.0, 25.0, 50.0, 75.0, 100.0])
_COLOURS = np.array([[59, 76, 192], [141, 176, 254], [221, 221, 221], [244, 152, 122], [180, 4, 38]], np.float64)


def coloured(percentiles: ArrayLike) -> NDArray[np.uint8]:
    """(..., 3) uint8 of percentiles (...); NaN is white."""
    values = np.asarray(percentiles, np.float64)
    known = np.nan_to_num(values, nan=0.0)
    channels = [np.interp(known, _STOPS, _COLOURS[:, channel]) for channel in range(3)]
    painted = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    painted[np.isnan(values)] = 255
    return painted

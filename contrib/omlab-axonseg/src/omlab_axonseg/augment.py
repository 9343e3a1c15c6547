"""How training cubes are made of axon cubes and artefact cubes (Li et al., D-LMBmap, Nature Methods 2023).

Arrays are (z, x, y) of one channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[Any]


def weaken_contrast(
    cube: Array, centres: Sequence[Sequence[int]], *, radius: int = 25, sigma: float = 0.65, published: bool = False
) -> NDArray[np.float64]:
    """`cube` with the contrast lowered around each centre (z, x, y), one after the other.

    v becomes v + w (mean of the block - v), w = sigma (1 - r / radius) within the radius; the block is the cube of side
    2 radius about the centre, cut at the border.

    With `published`, as upstream does it, the third coordinate of a centre is its second: a slip.
    """
    out = np.array(cube, np.float64)
    for centre in centres:
        z, x, y = centre
        place = (z, x, x if published else y)
        block = tuple(slice(max(at - radius, 0), min(at + radius, n)) for at, n in zip(place, out.shape, strict=True))
        if any(part.start >= part.stop for part in block):
            continue
        axes = [np.arange(part.start, part.stop) - at for part, at in zip(block, place, strict=True)]
        distance = np.sqrt(axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2)
        weight = np.where(distance < radius, sigma * (1 - distance / radius), 0)
        values = out[block]
        out[block] = values + weight * (values.mean() - values)
    return out


def match_histogram(cube: Array, reference: Array) -> NDArray[np.float64]:
    """`cube` with the distribution of `reference`: values go to those of the same quantile, between which is a line."""
    _, places, counts = np.unique(cube, return_inverse=True, return_counts=True)
    values, reference_counts = np.unique(reference, return_counts=True)
    quantiles = np.cumsum(counts) / cube.size
    matched = np.interp(quantiles, np.cumsum(reference_counts) / reference.size, values)
    return np.asarray(matched[places.reshape(cube.shape)], np.float64)


def cut_mix(cube: Array, label: Array, artefact: Array, *, size: Sequence[int]) -> tuple[Array, Array]:
    """The corner block of `size` (z, x, y) taken from a cube of artefacts, and unlabelled there; copies."""
    block = tuple(slice(0, n) for n in size)
    cube, label = cube.copy(), label.copy()
    cube[block], label[block] = artefact[block], 0
    return cube, label


def draw_block(shape: Sequence[int], rng: Generator) -> tuple[int, ...]:
    """The size of a block to replace: 0 to the side along each axis, both ends included."""
    return tuple(int(rng.integers(n, endpoint=True)) for n in shape)

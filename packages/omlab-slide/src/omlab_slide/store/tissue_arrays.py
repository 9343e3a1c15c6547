"""Tissue as arrays of a zarr group.

    mask            (h, w) bool
    points          (P, 2) int32, the corners (x, y) of all outlines, one after the other, in pixels of level 0
    rings           (R, 2) int32: the number of the polygon, and the number of corners; of a polygon the outer line
                    comes first, its holes follow

Its attributes are `downsample`, `mpp` and `doubts`, as `omlab_slide.tissue.Tissue` has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from omlab_slide.tissue import Tissue


def write_tissue(group: Any, tissue: Tissue) -> None:
    """Write a mask and its outlines into an empty group."""
    lines = [(number, line) for number, one in enumerate(tissue.polygons) for line in (one.outer, *one.holes)]
    points = np.concatenate([np.zeros((0, 2), np.int32), *(line for _, line in lines)])
    rings = np.array([(number, len(line)) for number, line in lines], np.int32).reshape(-1, 2)
    for name, array in {"mask": tissue.mask, "points": points, "rings": rings}.items():
        chunks = tuple(max(1, size) for size in array.shape)
        group.create_array(name, shape=array.shape, dtype=array.dtype, chunks=chunks)[...] = array
    group.attrs.update({"downsample": list(tissue.downsample), "mpp": tissue.mpp, "doubts": list(tissue.doubts)})


def read_tissue(group: Any) -> Tissue:
    """What `write_tissue` wrote. Raises `KeyError` or `ValueError` where it is damaged."""
    from omlab_slide.tissue import Polygon, Tissue

    points, rings = group["points"][...], group["rings"][...]
    lines = np.split(points, np.cumsum(rings[:, 1])[:-1]) if len(rings) else []
    of_polygon: dict[int, list[Any]] = {}
    for (number, _), line in zip(rings, lines, strict=True):
        of_polygon.setdefault(int(number), []).append(line)
    polygons = [Polygon(outer, tuple(holes)) for outer, *holes in of_polygon.values()]
    x, y = group.attrs["downsample"]
    return Tissue(
        mask=group["mask"][...],
        downsample=(x, y),
        polygons=polygons,
        mpp=group.attrs["mpp"],
        doubts=tuple(group.attrs["doubts"]),
    )

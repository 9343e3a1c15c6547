"""What somebody outlined on a slide (GeoJSON, as QuPath exports it), and whether the highest scores lie there.

regions = read_annotation(Path("case.geojson"))
agreement(heat, regions)                                                   # Agreement(patches=12, dice=0.83)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError
from omlab_slide.grid import shares
from omlab_slide.heat.heat_map import HeatMap
from omlab_slide.tissue.polygons import Polygon, covered

SUFFIX = ".geojson"
_CELL = 32
"""Pixels along the side of a patch in the mask that regions are drawn into."""
_MOST_PIXELS = 16_000_000
"""Of that mask; of more it is drawn coarser."""
_HALF = 0.5


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far the highest scores lie where something was outlined.

    Attributes:
        patches: How many patches lie there for at least a half.
        dice: Of those and as many patches with the highest scores; None: there is no such patch.
    """

    patches: int
    dice: float | None


def read_annotation(path: Path) -> list[Polygon]:
    """The regions of a GeoJSON file, in pixels of level 0, without points, lines, and QuPath's detections and tiles.

    Raises `InputError` where it holds no region.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        regions = [region for feature in _features(found) for region in _regions(feature)]
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputError(f"{path} is no GeoJSON of regions, or is damaged ({type(error).__name__}: {error}).") from None
    if not regions:
        raise InputError(f"{path} holds no region: an annotation has polygons in pixels of level 0.")
    return regions


def agreement(heat: HeatMap, regions: Sequence[Polygon]) -> Agreement:
    """The Dice coefficient of the patches in `regions` and as many patches with the highest scores.

    As both sets are of one size, it is also the share of the annotated patches that are among the highest. Of equal
    scores the first is the higher.
    """
    is_inside = annotated(heat, regions)
    count = int(is_inside.sum())
    top = np.argsort(-heat.scores, kind="stable")[:count]
    return Agreement(patches=count, dice=float(is_inside[top].mean()) if count else None)


def annotated(heat: HeatMap, regions: Sequence[Polygon]) -> NDArray[np.bool_]:
    """(N,): which patches lie in `regions` for at least a half, as exactly as a mask of the slide tells."""
    width, height = heat.dimensions
    step = max(1.0, heat.size0 / _CELL, (width * height / _MOST_PIXELS) ** 0.5)
    mask = covered(regions, shape=(int(-(-height // step)), int(-(-width // step))), scale=(step, step), through=0.5)
    return np.asarray(shares(mask, heat.coords, size0=heat.size0, downsample=(step, step)) >= _HALF)


def _features(found: Any) -> list[Any]:
    """Of a collection, a list, or one of them."""
    if isinstance(found, list):
        return found
    return list(found["features"]) if found["type"] == "FeatureCollection" else [found]


def _regions(feature: Any) -> Iterator[Polygon]:
    shape = feature["geometry"]
    if (feature.get("properties") or {}).get("objectType", "annotation") != "annotation":
        return
    if shape["type"] not in ("Polygon", "MultiPolygon"):
        return
    parts = [shape["coordinates"]] if shape["type"] == "Polygon" else shape["coordinates"]
    for outer, *holes in parts:
        yield Polygon(_corners(outer), [_corners(hole) for hole in holes])


def _corners(ring: Any) -> NDArray[np.int32]:
    corners = np.asarray(ring, np.float64)[:, :2]
    if len(corners) < 3 or not np.isfinite(corners).all():
        raise ValueError("a ring has at least 3 corners, which are numbers")
    return np.rint(corners).astype(np.int32)

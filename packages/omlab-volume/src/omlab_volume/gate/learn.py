"""What a trained model expects of its inputs and results: learned while its training cases are surveyed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from omlab_volume.gate.look import Array, Look
from omlab_volume.gate.orientation import SIZE, learn_template
from omlab_volume.gate.result import touches_side, volumes_ml
from omlab_volume.gate.sharpness import narrower
from omlab_volume.gate.slices import slice_axis
from omlab_volume.gate.values import guess_values
from omlab_volume.volume import LabelMap, Volume


class Learner:
    """Takes in training cases one by one; what it keeps of each is a thumbnail and some numbers."""

    def __init__(self) -> None:
        self._spacings: list[Sequence[float]] = []
        self._extents: list[Sequence[float]] = []
        self._levels: list[dict[str, float]] = []
        self._values: Counter[str] = Counter()
        self._thumbnails: list[Array] = []
        self._edges: list[float] = []
        self._volumes: dict[str, list[float]] = {}

    def add(self, volume: Volume, target: Any) -> None:
        """Take in a case; a target that is no label map is passed over."""
        if not volume.array.size or volume.array.dtype.kind not in "fiub":
            return
        look = Look(volume)
        self._spacings.append(look.spacing)
        self._extents.append(look.extent)
        self._levels.append(look.levels)
        self._values[volume.intensity if volume.intensity != "unknown" else guess_values(look)] += 1
        self._thumbnails.append(look.thumbnail(SIZE))
        self._edges.append(narrower(look, slice_axis(look))[0])
        if isinstance(target, LabelMap):
            for name, (value, size) in volumes_ml(target).items():
                if not touches_side(target, value):
                    self._volumes.setdefault(name, []).append(size)

    def expects(self) -> dict[str, dict[str, Any]]:
        """By kind, what the gates of volumes and label maps hold others against (JSON)."""
        if not self._extents:
            return {}
        volume: dict[str, Any] = {
            "cases": len(self._extents),
            "spacing": _ranges(self._spacings),
            "extent": _ranges(self._extents),
            "levels": {
                name: _range([levels[name] for levels in self._levels]) for name in ("low", "dark", "middle", "high")
            },
        }
        if len(self._values) == 1 and (only := next(iter(self._values))) in ("hu", "mr", "suv"):
            volume["values"] = only
        if edges := [width for width in self._edges if width]:
            volume["edge_mm"] = _range(edges)
        template = learn_template(self._thumbnails)
        if template is not None:
            volume["template"] = template
        ranges = {name: [*_range(sizes), len(sizes)] for name, sizes in sorted(self._volumes.items())}
        return {"volume": volume, "labelmap": {"volume_ml": ranges}} if ranges else {"volume": volume}


def _ranges(rows: Sequence[Sequence[float]]) -> list[list[float]]:
    """Least and most along each axis."""
    return [_range(along) for along in zip(*rows, strict=True)]


def _range(values: Sequence[float]) -> list[float]:
    return [round(float(np.min(values)), 4), round(float(np.max(values)), 4)]

"""A heat map as GeoJSON: a square for each patch in pixels of level 0, with its score, as QuPath reads it.

In QuPath: File > Import objects from file, then Measure > Show measurement maps.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from omlab.errors import InputError, OutputError
from omlab.payloads import Inputs, Payload, an, describe
from omlab_slide.heat.heat_map import HeatMap

VERSION = 1
_OWN = "omlab_heat"


class HeatGeoJson:
    """The format `heat-geojson`: reads and writes heat maps without their thumbnail."""

    def read(self, path: Path, *, kind: str) -> HeatMap:
        """The heat map that `write` wrote. Raises `InputError` for other GeoJSON."""
        if not path.is_file():
            raise InputError(f"{path} {'is no file' if path.exists() else 'does not exist'}.")
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is no GeoJSON, or is cut short: {error}.") from None
        own = found.get(_OWN) if isinstance(found, dict) else None
        if not isinstance(own, dict):
            raise InputError(f"{path} is no heat map of omlab: it has no '{_OWN}'.")
        if own.get("version") != VERSION:
            raise InputError(f"{path} is a heat map of version {own.get('version')}; version {VERSION} is read here.")
        try:
            corners = [cell["geometry"]["coordinates"][0][0] for cell in found["features"]]
            scores = [cell["properties"]["measurements"]["score"] for cell in found["features"]]
            return HeatMap(
                scores=np.array(scores, np.float32),
                coords=np.array(corners, np.int32).reshape(-1, 2),
                size0=int(own["size0"]),
                dimensions=(own["dimensions"][0], own["dimensions"][1]),
                mpp=own["mpp"],
                name=str(own["name"]),
            )
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise InputError(f"{path} is a damaged heat map ({type(error).__name__}: {error}).") from None

    def write(self, payload: Payload, path: Path, *, inputs: Inputs = MappingProxyType({})) -> None:
        """Write it cell by cell. Raises `OutputError` for another kind."""
        if not isinstance(payload, HeatMap):
            raise OutputError(f"{path}: cells are those of a heat map, not of {an(describe(payload))}.")
        own = {
            "version": VERSION,
            "name": payload.name,
            "size0": payload.size0,
            "dimensions": list(payload.dimensions),
            "mpp": payload.mpp,
        }
        with path.open("w", encoding="utf-8", newline="") as stream:
            stream.write(f'{{"type": "FeatureCollection", "{_OWN}": {json.dumps(own)}, "features": [\n')
            for number, cell in enumerate(_cells(payload)):
                stream.write((",\n" if number else "") + json.dumps(cell))
            stream.write("\n]}\n")


def _cells(heat: HeatMap) -> Iterator[dict[str, Any]]:
    side = heat.size0
    scores, percentiles = heat.scores.tolist(), heat.percentiles.tolist()
    for (x, y), score, percentile in zip(heat.coords.tolist(), scores, percentiles, strict=True):
        ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
        yield {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {
                "objectType": "tile",
                "measurements": {"score": score, "percentile": round(percentile, 4)},
            },
        }

"""Prompts written as a markups file of 3D Slicer (`.mrk.json`); `omlab_prompts.slicer_markups` reads them again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omlab.errors import OutputError, UsageError
from omlab.payloads import Inputs, Payload, describe
from omlab_prompts.prompts import Object, Prompts
from omlab_prompts.slicer_markups import NEGATIVE

_SCHEMA = (  # 3D Slicer opens no file without it
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
_PLAIN = [1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0]


class MarkupsFile:
    """The format `slicer-markups`."""

    def write(self, payload: Payload, path: Path, *, inputs: Inputs) -> None:
        """A point list and boxes for each object, in mm (RAS+).

        Raises `UsageError` for another payload, `OutputError` for voxels and pixels, masks and text.
        """
        if not isinstance(payload, Prompts):
            raise UsageError(f"A markups file holds prompts, not a {describe(payload)}.")
        if payload.space not in ("ras", "lps"):
            raise OutputError(f"{path.name} holds positions in mm, but the prompts are {payload.space}s: write .json.")
        left_out = sorted(payload.facets() & {"masks", "text"})
        if left_out:
            raise OutputError(f"{path.name} cannot hold {' or '.join(left_out)}: write .json.")
        markups = [markup for entry in payload.in_world().objects for markup in _markups(entry)]
        content = {"@schema": _SCHEMA, "markups": markups}
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _markups(entry: Object) -> Iterator[dict[str, Any]]:
    common = {"name": entry.name, "coordinateSystem": "RAS", "coordinateUnits": "mm"}
    if entry.points:
        points = [
            {
                "id": str(number),
                "label": f"{entry.name}-{number}",
                "description": "" if point.label else NEGATIVE[1],
                "position": list(point.at),
                "positionStatus": "defined",
            }
            for number, point in enumerate(entry.points, start=1)
        ]
        yield {"type": "Fiducial", **common, "controlPoints": points}
    for box in entry.boxes:
        middle = [(a + b) / 2 for a, b in zip(box.near, box.far, strict=True)]
        size = [b - a for a, b in zip(box.near, box.far, strict=True)]
        yield {"type": "ROI", **common, "roiType": "Box", "center": middle, "orientation": _PLAIN, "size": size}

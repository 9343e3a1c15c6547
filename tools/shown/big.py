"""The reader of docs/big-volumes.md: a small volume in the forms of big ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
import zarr

from tools.shown.reader import Reader

SHAPE = (164, 64, 64)
"""z, y, x."""
AXES = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]


def files(folder: Path) -> None:
    """A brain as OME-Zarr, and some of its planes as TIFF."""
    planes = np.random.default_rng(0).integers(90, 130, SHAPE).astype(np.uint8)
    scale = [{"type": "scale", "scale": [3.0, 4.06, 4.06]}]
    facts = {"version": "0.4", "axes": AXES, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    group = zarr.create_group(folder / "brain.ome.zarr", zarr_format=2, attributes={"multiscales": [facts]})
    array = group.create_array("0", shape=SHAPE, chunks=(64, 64, 64), dtype="uint8")
    array[:] = planes
    (folder / "slices").mkdir()
    for number in range(24):
        tifffile.imwrite(folder / "slices" / f"z{number}.tif", planes[number])


def given() -> Mapping[str, Any]:
    """A network: what is brighter than 100 is axon."""
    return {"network": lambda windows: torch.cat([100 - windows, windows - 100], dim=1)}


BIG_VOLUMES = Reader(files=files, instead=[("MODEL", "axonseg-tiny.untrained")], given=given)

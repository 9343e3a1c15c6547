"""Writing bags as the h5 files that CLAM and TRIDENT read, block by block."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from omlab.errors import OutputError
from omlab.payloads import Inputs, Payload, an, describe
from omlab_slide.bag import Bag

_ROWS = 32
"""Of a chunk, in both."""
_MAGNIFICATIONS = ((0.16, 80), (0.2, 60), (0.3, 40), (0.6, 20), (1.2, 10), (2.4, 5))
"""Micrometres a pixel up to which TRIDENT calls a slide so."""


class ClamH5:
    """The format `clam-h5`: `features` and `coords` without attributes."""

    def write(self, payload: Payload, path: Path, *, inputs: Inputs = MappingProxyType({})) -> None:
        """Write a bag. Raises `OutputError` for another kind."""
        _write(bag_of(payload, path), path, of_features={}, of_coords={}, dtype="<i4")


class TridentH5:
    """The format `trident-h5`: as CLAM's, with what TRIDENT says of patches and slide."""

    def write(self, payload: Payload, path: Path, *, inputs: Inputs = MappingProxyType({})) -> None:
        """Write a bag. Raises `OutputError` for another kind, and for a bag without a scale."""
        bag = bag_of(payload, path)
        name = Path(str(bag.slide.get("name") or path.stem)).stem
        features = {"name": name, "savetodir": "", "encoder": str(bag.encoder.get("name", ""))}
        _write(bag, path, of_features=features, of_coords=trident_attributes(bag, name=name, path=path), dtype="<i8")


def trident_attributes(bag: Bag, *, name: str, path: Path) -> dict[str, Any]:
    """What TRIDENT writes beside coordinates. Raises `OutputError` where the scale of the slide is not known."""
    if bag.mpp is None:
        raise OutputError(f"{path} cannot be written: TRIDENT's files tell magnifications, but the bag has no scale.")
    size = bag.size or bag.size0
    return {
        "patch_size": size,
        "patch_size_level0": bag.size0,
        "level0_magnification": magnification(bag.mpp),
        "target_magnification": magnification(bag.target_mpp or bag.mpp * bag.size0 / size),
        "overlap": bag.overlap,
        "name": name,
        "savetodir": "",
        "level0_width": bag.dimensions[0],
        "level0_height": bag.dimensions[1],
    }


def magnification(mpp: float) -> int:
    """The nominal magnification of a scale, as TRIDENT has it; coarser than all of its steps: 10 / mpp."""
    return next((power for most, power in _MAGNIFICATIONS if mpp <= most), max(1, round(10 / mpp)))


def bag_of(payload: Payload, path: Path) -> Bag:
    """The payload as a bag. Raises `OutputError`."""
    if not isinstance(payload, Bag):
        raise OutputError(f"{path}: a file of features holds a bag, not {an(describe(payload))}.")
    return payload


def _write(bag: Bag, path: Path, *, of_features: Mapping[str, Any], of_coords: Mapping[str, Any], dtype: str) -> None:
    import h5py  # type: ignore[import-untyped]

    count, width = len(bag), bag.features.shape[1]
    rows = min(_ROWS, count)
    with h5py.File(path, "w") as file:
        coords = file.create_dataset("coords", data=bag.coords.astype(dtype), chunks=(rows, 2), maxshape=(None, 2))
        features = file.create_dataset(
            "features", shape=(count, width), dtype="<f4", chunks=(rows, width), maxshape=(None, width)
        )
        for start, block in bag.blocks():
            features[start : start + len(block)] = np.asarray(block, np.float32)
        features.attrs.update(of_features)
        coords.attrs.update(of_coords)

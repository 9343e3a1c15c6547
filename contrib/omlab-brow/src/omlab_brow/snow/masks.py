"""SNOW's masks: MATLAB files of version 5 that hold the number of a nucleus for each pixel, 0 for none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError

INSTANCES = "inst_map"
"""What HoVer-Net calls its map of instances, whose tile inference writes such files."""


def read_instances(path: Path) -> NDArray[np.int64]:
    """The numbers of nuclei (H, W): `inst_map`, else the only map of whole numbers. Raises `InputError`."""
    from scipy.io import loadmat  # type: ignore[import-untyped]

    try:
        found = {name: np.asarray(value) for name, value in loadmat(path).items() if not name.startswith("__")}
    except Exception as error:  # the reader meets arbitrary bytes
        raise InputError(f"{path} cannot be read as a MATLAB file ({type(error).__name__}: {error}).") from error
    maps = {name: array for name, array in found.items() if array.ndim == 2 and min(array.shape) > 1 and _whole(array)}
    if INSTANCES not in maps and len(maps) != 1:
        had = ", ".join(found) or "nothing"
        raise InputError(f"{path} has no '{INSTANCES}', and not one other map of whole numbers: it has {had}.")
    return np.asarray(maps.get(INSTANCES, next(iter(maps.values()))), np.int64)


def _whole(array: NDArray[np.generic]) -> bool:
    return array.dtype.kind in "iu" or (array.dtype.kind == "f" and bool((array == np.floor(array)).all()))

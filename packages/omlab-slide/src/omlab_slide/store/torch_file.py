"""The features of a bag as the tensor (N, D) in a torch file, as CLAM trains on: `pt_files/<slide>.pt`.

Positions stand in `h5_files/<slide>.h5` beside that folder.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from omlab.errors import InputError, MissingDependencyError, WeightsError
from omlab.payloads import Inputs, Payload
from omlab_slide.bag import Bag
from omlab_slide.store.h5_reading import BagH5
from omlab_slide.store.h5_writing import bag_of


class ClamPt:
    """The formats `bag-pt` (reads) and `clam-pt` (writes)."""

    def read(self, path: Path, *, kind: str) -> Bag:
        """The bag of a file and of the h5 file with its positions.

        Raises `InputError` where either is damaged, is not there, or they do not fit each other.
        """
        _torch(path)
        from omlab.weights import read_tensor

        if not path.is_file():
            raise InputError(f"{path} {'is no file' if path.exists() else 'does not exist'}.")
        try:
            tensor = read_tensor(path)
        except WeightsError as error:
            raise InputError(str(error)) from None
        features = tensor.float().numpy()
        beside = [path.with_suffix(".h5"), path.parent.parent / "h5_files" / f"{path.stem}.h5"]
        placed = next((near for near in beside if near.is_file()), None)
        if placed is None:
            raise InputError(
                f"{path} has features without positions, which stand in {beside[1]}: that file is not there."
            )
        bag = BagH5().read(placed, kind=kind)
        if features.shape != tuple(bag.features.shape) or not np.isfinite(features).all():
            raise InputError(
                f"{path} has features {features.shape}, {placed} those of {len(bag)} patches: they must be as many, "
                "and all finite."
            )
        return bag

    def write(self, payload: Payload, path: Path, *, inputs: Inputs = MappingProxyType({})) -> None:
        """Write the features alone. Raises `OutputError` for another kind."""
        torch = _torch(path)
        torch.save(torch.from_numpy(np.asarray(bag_of(payload, path).features[:], np.float32)), path)


def _torch(path: Path) -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"{path} needs torch: install it.") from error
    return torch

"""SNOW with a handful of tiny tiles, in both forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat  # type: ignore[import-untyped]

NAMES = [f"seed{number:04d}" for number in range(7)] + ["seed10000"]


def write_snow(root: Path, *, unpacked: bool = False) -> Path:
    """Tiles of 64 pixels with three nuclei each; one mask calls its map otherwise. `unpacked`: as from Zenodo."""
    base = root / "SNOW_Dataset_20k"
    pictures = root / "SNOW_Image" if unpacked else base / "Image"
    masks = root / "mask_0_5000" / "mat" if unpacked else base / "Mask"
    for folder in (pictures, masks):
        folder.mkdir(parents=True)
    for place, name in enumerate(NAMES):
        random = np.random.default_rng(place)
        rows, columns = np.mgrid[:64, :64]
        instances = np.zeros((64, 64), np.int32)
        for number, (row, column) in enumerate(random.integers(8, 56, (3, 2)), start=1):
            instances[np.hypot(rows - row, columns - column) < 6] = number
        shown = np.where(instances[..., None] > 0, [90, 60, 130], [230, 190, 215]) + random.integers(-9, 9, (64, 64, 3))
        Image.fromarray(shown.astype(np.uint8)).save(pictures / f"{name}.png")
        own = {"map" if place == 1 else "inst_map": instances, "inst_type": np.ones((3, 1), np.int32)}
        savemat(masks / f"{name}.mat", own)
        if unpacked:
            overlay = masks.parent / "overlay"
            overlay.mkdir(exist_ok=True)
            Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(overlay / f"{name}.png")
    return root

"""What the test kit cannot make up: a user's own files."""

from __future__ import annotations

import atexit
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from omlab_volume.io.nifti import Nifti
from omlab_volume.testing import LABELS, example_labelmaps, example_volumes


@cache
def dataset_root(card: str) -> Path:
    """A folder in nnU-Net's layout: three cases to train on, two to test on."""
    folder = Path(mkdtemp(prefix="omlab-nnunet-"))
    atexit.register(rmtree, folder, ignore_errors=True)
    labels = {"background": 0, **{label.name: label.value for label in LABELS}}
    description = {"channel_names": {"0": "CT"}, "labels": labels, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(description))
    pairs = list(zip(example_volumes(), example_labelmaps(), strict=True))
    for part, count in (("Tr", 3), ("Ts", 2)):
        for name in ("images", "labels"):
            (folder / f"{name}{part}").mkdir()
        for n, (volume, labelmap) in enumerate(pairs[:count]):
            other = replace(volume, array=volume.array + (5 if part == "Ts" else 0))
            Nifti().write(other, folder / f"images{part}" / f"{part}{n}_0000.nii.gz", inputs={})
            Nifti().write(labelmap, folder / f"labels{part}" / f"{part}{n}.nii.gz", inputs={})
    return folder

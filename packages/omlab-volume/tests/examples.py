"""What the test kit cannot make up: a user's own files, and a segmenter that says how sure it is."""

from __future__ import annotations

import atexit
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import numpy as np

from omlab import About
from omlab.card_schema import ModelCard
from omlab.session import Session
from omlab_testkit.example_data import ExampleCase
from omlab_volume.io.nifti import Nifti
from omlab_volume.testing import LABELS, example_labelmaps, example_volumes
from omlab_volume.volume import Label, LabelMap, Volume


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


class SureSegmenter:
    """Finds what is bright; surer and better the brighter it is."""

    def predict(self, batch, /):
        for inputs in batch:
            volume = inputs["volume"]
            found = (volume.array[0] > 5).astype(np.uint8)
            sure = float(np.clip(volume.array[0].max() / 40, 0, 1))
            facts = {"margin": sure, "entropy": 1 - sure, "surface_margin": sure / 2, "surface_entropy": 1 - sure / 2}
            labels = [Label(value=1, name="blob"), Label(value=2, name="other")]
            found[:2] *= 2
            structures = {"blob": {"ml": 1.0, **facts}, "other": {"ml": 1.0, **facts}}
            yield LabelMap(array=found, affine=volume.affine, labels=labels, facts={"structures": structures})


class SureBase:
    """The segmenter as an adapter sees it."""

    device = "cpu"

    def __init__(self):
        card = {
            "name": "sure",
            "summary": "Finds what is bright.",
            "entry": "examples:SureSegmenter",
            "licence": "Apache-2.0",
            "citation": "none",
            "intended_use": "Tests.",
            "limits": "Everything else.",
            "does": {"predict": {"takes": {"volume": "volume"}, "gives": "labelmap", "grid": "volume"}},
        }
        self._session = Session(SureSegmenter(), card=ModelCard.model_validate(card), identity={}, name="sure")

    def session(self):
        return self._session


class BlobData:
    """Cases with a bright box; the dimmer it is, the less of it is labelled where the segmenter finds it."""

    def __init__(self, cases=6):
        self._cases = [self._case(n) for n in range(cases)]

    def _case(self, number):
        array, target = np.zeros((1, 8, 8, 8), np.float32), np.zeros((8, 8, 8), np.uint8)
        array[0, :4, 2:6, 2:6] = 10 + 5 * number
        target[:, 2:6, 2 : 3 + min(number, 3)] = 1
        target[:2] *= 2
        labels = [Label(value=1, name="blob"), Label(value=2, name="other")]
        return ExampleCase(
            id=f"case-{number}",
            inputs={"volume": Volume(array=array, affine=np.eye(4))},
            target=LabelMap(array=target, affine=np.eye(4), labels=labels),
            group=f"case-{number}",
        )

    def splits(self):
        return ["train", "val"]

    def about(self, split):
        return About(inputs={"volume": "volume"}, target="labelmap", task="segmentation", cases=len(self._cases))

    def cases(self, split):
        return self._cases


def base(card):
    return (SureBase(), BlobData(), None) if card == "calibrate" else None

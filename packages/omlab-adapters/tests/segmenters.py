"""Segmenters of volumes, pictures and clips that are far surer than they are right, and cases that show it."""

from __future__ import annotations

import numpy as np
import torch

from omlab import About
from omlab.card_schema import ModelCard
from omlab.session import Session
from omlab_image.image import Image, LabelMap2D
from omlab_payloads.sureness import Sureness
from omlab_testkit.example_data import ExampleCase
from omlab_video.clip import Clip
from omlab_video.over_time import LabelMapClip
from omlab_volume.volume import Label, LabelMap, Volume

GIVES = {"volume": "labelmap", "image": "labelmap-2d", "clip": "labelmap-clip"}
"""Kind of the label maps of each kind of input."""
CASES = {"train": 3, "val": 40, "test": 20}
_SHAPES = {"volume": (4, 16, 16), "image": (1, 16, 16), "clip": (4, 16, 16)}


def shown(kind, grey):
    """An input whose planes (d, h, w) have these grey values."""
    if kind == "volume":
        return Volume(array=grey[None].astype(np.float32), affine=np.eye(4))
    return Image(array=grey[0]) if kind == "image" else Clip.of(np.repeat(grey[..., None], 3, axis=3))


def grey_of(payload):
    """The planes (d, h, w) of an input."""
    if isinstance(payload, Clip):
        return np.stack(list(payload.stream()))[..., 0]
    return payload.array[0] if isinstance(payload, Volume) else payload.array[None]


def label_map(kind, classes, *, name, facts=None):
    """The label map of such an input from classes (d, h, w), of which 1 has a name."""
    facts = facts or {}
    if kind == "volume":
        return LabelMap(array=classes, affine=np.eye(4), labels=[Label(value=1, name=name)], facts=facts)
    if kind == "image":
        return LabelMap2D(array=classes[0], names={1: name}, facts=facts)
    return LabelMapClip(array=classes, names={1: name}, facts=facts)


class SureSegmenter:
    """Finds what is bright, with a margin from 0.8 to 1: the brighter, the surer."""

    def __init__(self, kind):
        self.kind = kind

    def predict(self, batch, /):
        for inputs in batch:
            grey = torch.from_numpy(grey_of(inputs[self.kind]).astype(np.float32))
            bright = 0.5 + torch.where(grey > 0, 0.8 + grey / 1000, -0.9) / 2
            sureness = Sureness(2, softmax=False)
            sureness.add_scores(torch.stack([1 - bright, bright]))
            found = (grey > 0).numpy().astype(np.uint8)
            facts = sureness.facts({1: "blob"}, counts=np.bincount(found.ravel()).tolist(), voxel_ml=None)
            yield label_map(self.kind, found, name="blob", facts=facts)


class SureBase:
    """The segmenter as an adapter sees it."""

    device = "cpu"

    def __init__(self, kind):
        card = {
            "name": "sure",
            "summary": "Finds what is bright.",
            "entry": "segmenters:SureSegmenter",
            "licence": "Apache-2.0",
            "citation": "none",
            "intended_use": "Tests.",
            "limits": "Everything else.",
            "does": {"predict": {"takes": {kind: kind}, "gives": GIVES[kind], "grid": kind}},
        }
        self._session = Session(SureSegmenter(kind), card=ModelCard.model_validate(card), identity={}, name="sure")

    def session(self):
        return self._session


class BlobData:
    """Cases with a bright box, of which between 0.2 and 0.9 is labelled: the more, the brighter it is."""

    def __init__(self, kind):
        self.kind = kind
        rng = np.random.default_rng(0)
        self._cases = {split: [self._case(f"{split}-{n}", rng) for n in range(count)] for split, count in CASES.items()}

    def _case(self, name, rng):
        grey = np.zeros(_SHAPES[self.kind], np.uint8)
        bright = rng.uniform()
        grey[:, 2:14, 2:14] = 10 + 180 * bright
        target = np.zeros(grey.size, np.uint8)
        box = grey.ravel().nonzero()[0]
        target[box[: round(len(box) * (0.2 + 0.7 * bright + rng.normal(0, 0.02)))]] = 1
        inputs = {self.kind: shown(self.kind, grey)}
        return ExampleCase(id=name, inputs=inputs, target=label_map(self.kind, target.reshape(grey.shape), name="Blob"))

    def splits(self):
        return list(self._cases)

    def about(self, split):
        count = len(self._cases[split])
        return About(inputs={self.kind: self.kind}, target=GIVES[self.kind], task="segmentation", cases=count)

    def cases(self, split):
        return self._cases[split]

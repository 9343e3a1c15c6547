"""Stand-ins for the payloads of omlab-volume: what the evaluators see of them. Also read by the test kit."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from omlab.errors import UsageError
from omlab.roles import Sample
from omlab_payloads.boxes import Box, Boxes
from omlab_payloads.scores import Scores
from omlab_report import encode_png


@dataclass
class Label:
    value: int
    name: str
    colour: tuple[int, int, int] | None = None


@dataclass
class Plain:
    array: Any
    affine: Any = field(default_factory=lambda: np.eye(4))
    labels: Any = ()
    kind: ClassVar[str] = "labelmap"

    def same_grid(self, other):
        return self.array.shape == other.array.shape and np.allclose(self.affine, other.affine)


@dataclass
class LabelMap(Plain):
    """One that draws itself: a PNG of one colour."""

    def overlay(self, inputs, *, target=None):
        if not inputs:
            raise UsageError("There is nothing to draw on.")
        return encode_png(np.full((4, 4, 3), len(target.labels), dtype=np.uint8))


@dataclass
class Volume:
    array: Any
    affine: Any = field(default_factory=lambda: np.eye(4))
    intensity: str = "hu"
    kind: ClassVar[str] = "volume"


BOXES = (
    Box(near=(1.5, 3.5, 0.5), far=(12.5, 14.5, 11.5), label="liver"),
    Box(near=(14.5, 5.5, 2.5), far=(20.5, 12.5, 9.5), label="Spleen"),
)
"""The first lies on the liver of `two_organs`; the second is half a voxel to one too small for the spleen."""


def ball(shape, centre, radius):
    """A mask of the voxels within `radius` of `centre`."""
    axes = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    return sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)) <= radius**2


def two_organs(*, shift=0, affine=None):
    """A label map with a liver (1) and a spleen (2); `shift` moves the spleen."""
    array = np.zeros((24, 20, 12), dtype=np.uint8)
    array[ball(array.shape, (7, 9, 6), 5)] = 1
    array[ball(array.shape, (17, 9 + shift, 6), 3)] = 2
    labels = [Label(0, "background"), Label(1, "liver"), Label(2, "spleen")]
    return LabelMap(array, np.diag([2.0, 2.0, 3.0, 1.0]) if affine is None else affine, labels)


def polyp(left, top, *, score=None, label="adenomatous", side=40):
    """A square box."""
    return Box(near=(left, top), far=(left + side, top + side), label=label, score=score)


def polyps():
    """Three pictures: one polyp that is found, one of two with a false alarm, nothing where nothing is."""
    references = [[polyp(10, 10)], [polyp(50, 20), polyp(5, 60, label="hyperplastic", side=20)], []]
    found = [[polyp(12, 11, score=0.9)], [polyp(50, 20, score=0.8), polyp(90, 90, score=0.6)], []]
    targets, results = ([Boxes(space="pixel", boxes=boxes) for boxes in side] for side in (references, found))
    samples = [Sample(id=f"case-{n}", inputs={}, target=one, group=f"patient-{n}") for n, one in enumerate(targets)]
    return samples, results


def examples(kind, card):
    return [two_organs(), two_organs(shift=2)] if kind == "labelmap" else None


def judged(card):
    """Samples and results of the evaluators whose references are not of the kind of their results."""
    if card == "localisation":
        targets = [two_organs(), two_organs(shift=2)]
        results = [Boxes(space="voxel", boxes=BOXES), Boxes(space="voxel", boxes=BOXES[:1])]
        samples = [Sample(id=f"case-{n}", inputs={}, target=one, group=f"group-{n}") for n, one in enumerate(targets)]
        return samples, results
    if card == "detection":
        return polyps()
    if card != "survival":
        return None
    followed = [(5.0, 1), (3.0, 1), (9.0, 0), (7.0, 1), (2.0, 0), (6.0, 1)]
    samples = [
        Sample(id=f"case-{n}", inputs={}, target=Scores(values={"time": time, "event": event}), group=f"group-{n}")
        for n, (time, event) in enumerate(followed)
    ]
    results = [
        Scores(values={"risk": 1 / (1 + n), "survival@2.5": 0.9 - 0.05 * n, "survival@6.5": 0.4 + 0.02 * n})
        for n in range(len(followed))
    ]
    return samples, results

from dataclasses import dataclass
from typing import ClassVar

import torch
from omlab_toy_scans.scan import Scan, ScanJson, example_scans
from omlab_toy_training import Pairs, Task
from torch import nn

from omlab_payloads.classes import Classes


@dataclass(frozen=True)
class Bag:
    kind: ClassVar[str] = "bag"
    patches: tuple[Scan, ...]

    @classmethod
    def stack(cls, bags):
        return cls(tuple(patch for bag in bags for patch in bag.patches))


class Patches(ScanJson):
    def read(self, path, *, kind):
        return Bag((super().read(path, kind="scan"),))


def pooled(rows):
    return (rows[:, :1].softmax(0) * rows[:, 1:]).sum(0, keepdim=True)


class Mil:
    def __init__(self, encoder, classes):
        self.encoder, self.classes = encoder, list(classes)
        self.module = nn.Linear(24, 1 + len(self.classes))  # of each patch an attention, and scores

    def _features(self, bag):
        return torch.stack([torch.tensor(self.encoder.embed(patch).vector) for patch in bag.patches])

    def predict(self, batch, /):
        rows = [self.module(self._features(inputs["bag"]).to(self.module.weight.device)) for inputs in batch]
        return [Classes(names=self.classes, probabilities=pooled(row)[0].softmax(0).tolist()) for row in rows]

    def layers(self):
        return [["weight", "bias"]]

    def retarget(self, recipe, about, *, settings, seed):
        return Mil(self.encoder, about.classes.values())

    def recipe(self, recipe, data, *, settings, seed):
        samples = [case.load() for case in data.cases("train")]
        x = [self._features(sample.inputs["bag"]) for sample in samples]
        y = [torch.tensor([self.classes.index(sample.target.predicted[0])]) for sample in samples]
        return Task(self.module, Pairs(x, y, seed), lambda rows, y: nn.functional.cross_entropy(pooled(rows), y))

    def config(self):
        return {"classes": self.classes}


def load(card, *, weights, needs, device, settings, config):
    model = Mil(needs["encoder"], config["classes"] if config else ["benign", "malignant"])
    if weights is not None:
        weights.load(model.module)
    model.module.to(device)
    return model


def example_bags():
    return [Bag(tuple(example_scans()[:n])) for n in (1, 2, 3)]

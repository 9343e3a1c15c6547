from copy import deepcopy

import numpy as np
import torch
from torch import nn

from omlab.errors import InputError
from omlab_example.recipes import MarksRecipe, OwnLoop
from omlab_example.signals import Marks, row


class Net(nn.Module):
    def __init__(self, *, classes):
        super().__init__()
        self.body = nn.Conv1d(1, 4, 3, padding=1)
        self.head = nn.Conv1d(4, classes, 1)

    def features(self, x):
        return torch.relu(self.body(x))

    def forward(self, x):
        return self.head(self.features(x))


class Model:
    def __init__(self, module, *, smooth, classes):
        self.module, self.smooth, self.classes = module.eval(), smooth, classes

    def prepare(self, verb, inputs, /, **options):
        return inputs["signal"], self._tensor(inputs["signal"])

    def _tensor(self, signal):
        if not np.isfinite(signal.array).all():
            raise InputError("The signal has values that are not finite.")
        smoothed = np.convolve(signal.array.ravel(), np.ones(self.smooth) / self.smooth, mode="same")[
            : len(signal.array)
        ]
        return torch.tensor(smoothed, dtype=torch.float32)[None, None]

    @torch.no_grad()
    def predict(self, batch, /, *, shift=0):
        device = next(self.module.parameters()).device
        for signal, tensor in batch:
            marks = self.module(tensor.to(device))[0].argmax(0).cpu().numpy()
            yield Marks(row(marks + shift, np.uint8), signal.step, signal.start)

    @torch.no_grad()
    def draw(self, batch, /, *, seed=0):
        for signal, tensor in batch:
            chance = self.module(tensor.to(next(self.module.parameters()).device))[0].softmax(0)[0].cpu()
            generator = torch.Generator().manual_seed(seed)
            drawn = torch.rand(chance.shape, generator=generator) < chance
            yield Marks(row(drawn.numpy(), np.uint8), signal.step, signal.start)

    def layers(self):
        return [["body.weight", "body.bias"], ["head.weight", "head.bias"]]

    def retarget(self, recipe, about, *, settings, seed):
        classes = max(about.classes) + 1
        module = deepcopy(self.module)
        if classes != self.classes:
            module.head = nn.Conv1d(4, classes, 1)
        return Model(module, smooth=self.smooth, classes=classes)

    def recipe(self, recipe, data, *, settings, seed):
        samples = [case.load() for case in data.cases("train")]
        pairs = [(self._tensor(s.inputs["signal"]), torch.tensor(s.target.array.ravel()).long()[None]) for s in samples]
        if recipe == "own":
            return OwnLoop(self.module, pairs)
        return MarksRecipe(self.module, pairs, rounds=settings["rounds"], seed=seed)

    def config(self):
        return {"classes": self.classes}


def load(card, *, weights, needs, device, settings, config):
    classes = config["classes"] if config else 2
    module = Net(classes=classes)
    if weights is not None and weights.folder is not None:
        weights.load(module, "model.safetensors")
    elif weights is not None and len(weights.files) > 1:
        weights.load(module.body, "body.pth")
        weights.load(module.head, "head.safetensors")
    elif weights is not None:
        weights.load(module)
    return Model(module.to(device), smooth=settings["smooth"], classes=classes)

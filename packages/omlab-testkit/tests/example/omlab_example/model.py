from copy import deepcopy

import numpy as np
import torch
from torch import nn

from omlab.errors import InputError
from omlab.weights import load_state_dict, read_state_dict
from omlab_example.signals import Marks


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

    def _input(self, payload):
        if payload.kind != "signal":
            raise InputError(f"A signal is needed, not a {payload.kind}.")
        array = payload.array
        if not np.isfinite(array).all():
            raise InputError("The signal has values that are not finite.")
        smoothed = np.convolve(array, np.ones(self.smooth) / self.smooth, mode="same") if self.smooth > 1 else array
        device = next(self.module.parameters()).device
        return torch.tensor(smoothed, dtype=torch.float32, device=device)[None, None]

    @torch.no_grad()
    def predict(self, payload):
        self.module.eval()
        marks = self.module(self._input(payload))[0].argmax(0)
        return Marks(marks.cpu().numpy().astype(np.uint8), payload.affine)

    def predict_batch(self, payloads):
        return [self.predict(payload) for payload in payloads]

    @torch.no_grad()
    def embed(self, payload):
        return self.module.features(self._input(payload))[0].mean(-1).cpu().numpy()

    def retarget(self, samples, *, seed):
        classes = 1 + max(int(sample.target.array.max()) for sample in samples)
        module = deepcopy(self.module)
        if classes != self.classes:
            module.head = nn.Conv1d(4, classes, 1)
        return Model(module, smooth=self.smooth, classes=classes)

    def training_task(self, samples, *, settings, seed):
        return Task(self.module, [(self._input(s.payload), torch.tensor(s.target.array).long()[None]) for s in samples])

    def config(self):
        return {"classes": self.classes}


class Task:
    steps_per_epoch, epochs, max_grad_norm = 1, 1, None

    def __init__(self, module, pairs):
        self.module, self.pairs = module, pairs

    def batch(self, step):
        return self.pairs[step % len(self.pairs)]

    def loss(self, batch):
        return nn.functional.cross_entropy(self.module(batch[0]), batch[1]), {}

    def optimizer(self):
        return torch.optim.SGD(self.module.parameters(), lr=1.0)

    def learning_rate(self, step):
        return 0.1


def load(card, *, weights, device, settings, config):
    classes = config["classes"] if config else 2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Net(classes=classes)
    if weights is not None:
        files = {file.name: file for tag in card.weights.values() for file in tag.files}
        file = files.get(weights.name)
        wrapper, prefix = (file.wrapper, file.prefix) if file else ("", "")
        missing, dropped = (file.missing, file.dropped) if file else ((), ())
        state = read_state_dict(weights, wrapper=wrapper, prefix=prefix)
        load_state_dict(module, state, missing=missing, dropped=dropped, source=weights)
    return Model(module.to(device), smooth=settings["smooth"], classes=classes)

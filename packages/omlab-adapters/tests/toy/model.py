"""A network of two layers with three recipes of the loop's, and one that trains itself."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from omlab_payloads.classes import Classes
from omlab_payloads.embedding import Embedding
from omlab_payloads.scores import Scores
from omlab_train import Optimisation


class Net(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Tanh())
        self.head = nn.Linear(8, outputs)

    def forward(self, x):
        return self.head(self.body(x))


class Tiny:
    def __init__(self, module, gives, names, device):
        self.module, self.gives, self.names, self.device = module.eval().to(device), gives, list(names), device

    def _in(self, batch):
        stack = np.stack([inputs["picture"].values.ravel() for inputs in batch])
        return torch.from_numpy(stack).to(self.device)

    @torch.inference_mode()
    def embed(self, batch, /):
        return [Embedding(vector=row.numpy()) for row in self.module.eval().body(self._in(batch)).cpu()]

    @torch.inference_mode()
    def predict(self, batch, /):
        for row in self.module.eval()(self._in(batch)).cpu():
            if self.gives == "scores":
                yield Scores(values={"angle": float(row[0])})
            else:
                yield Classes(names=self.names, probabilities=row.softmax(0).double().clamp(0, 1).tolist())

    def layers(self):
        body = [[f"body.{n}.weight", f"body.{n}.bias"] for n in (0, 2, 3)]
        return [body[0], body[1] + body[2], ["head.weight", "head.bias"]]

    def retarget(self, recipe, about, *, settings, seed):
        outputs = {"classification": len(about.classes), "own": len(about.classes), "regression": 1}.get(recipe, 64)
        gives = "scores" if recipe == "regression" else "classes"
        names = list(about.classes.values()) or self.names
        torch.manual_seed(seed)
        net = copy.deepcopy(self.module)
        net.head = nn.Linear(8, outputs)
        return Tiny(net, gives, names, self.device)

    def recipe(self, recipe, data, *, settings, seed):
        batches = Batches(tuple(data.cases("train")), seed, recipe)
        kind = Own if recipe == "own" else Made
        return kind(self.module, batches, settings["steps"], settings["rate"], recipe)

    def config(self):
        return {"outputs": self.module.head.out_features, "gives": self.gives, "names": self.names}


@dataclass(frozen=True)
class Batches:
    cases: tuple
    seed: int
    recipe: str

    def __call__(self, step):
        rng = np.random.default_rng([self.seed, step])
        samples = [self.cases[n].load() for n in rng.choice(len(self.cases), 8, replace=False)]
        x = torch.from_numpy(np.stack([sample.inputs["picture"].values.ravel() for sample in samples]))
        if self.recipe == "denoising":
            return {"x": x + torch.from_numpy(rng.normal(0, 0.3, x.shape).astype(np.float32)), "y": x}
        if self.recipe == "regression":
            return {"x": x, "y": torch.tensor([[sample.target.values["angle"]] for sample in samples])}
        return {
            "x": x,
            "y": torch.tensor([sample.target.names.index(sample.target.predicted[0]) for sample in samples]),
        }


class Made:
    how = Optimisation(optimizer="adamw")

    def __init__(self, module, batches, steps, rate, recipe):
        self.module, self.batches, self.steps, self.rate, self.recipe = module, batches, steps, rate, recipe
        self.epoch, self.fingerprint = 10, f"{recipe} {steps} {rate}"

    def groups(self):
        return [{"params": list(self.module.parameters()), "lr": self.rate, "weight_decay": 0.0}]

    def schedule(self, step):
        return 1.0

    def loss(self, batch):
        out = self.module(batch["x"])
        is_classes = self.recipe in ("classification", "own")
        return (functional.cross_entropy if is_classes else functional.mse_loss)(out, batch["y"]), {}

    def validate(self):
        return None


class Own(Made):
    def run(self, *, device, folder, seed):
        (folder / "own-loop").touch()
        self.module.train()
        optimizer = torch.optim.AdamW([p for p in self.module.parameters() if p.requires_grad], lr=self.rate)
        for step in range(self.steps):
            optimizer.zero_grad()
            loss, _ = self.loss(self.batches(step))
            loss.backward()
            optimizer.step()
        self.module.eval()
        return [{"epoch": 1, "loss": loss.item()}]


def load(card, *, weights, needs, device, settings, config):
    config = config or {"outputs": 3, "gives": "classes", "names": ["a", "b", "c"]}
    net = Net(config["outputs"])
    if weights is not None:
        weights.load(net)
    return Tiny(net, config["gives"], config["names"], device)

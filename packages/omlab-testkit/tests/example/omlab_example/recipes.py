import json
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from omlab.weights import read_state_dict, save_state_dict


def descend(parameters, rate):
    with torch.no_grad():
        for parameter in parameters:
            parameter -= rate * parameter.grad
            parameter.grad = None


@dataclass(frozen=True)
class Batches:
    pairs: Any
    seed: int

    def __call__(self, number):
        x, y = self.pairs[(number + self.seed) % len(self.pairs)]
        return {"x": x, "y": y}


class MarksRecipe:
    epoch, how = 2, None

    def __init__(self, module, pairs, *, rounds, seed):
        self.module, self.batches, self.steps = module, Batches(pairs, seed), 2 * rounds
        self.fingerprint = f"marks-{rounds}-{seed}"

    def groups(self):
        return [{"params": list(self.module.parameters()), "lr": 0.1, "weight_decay": 0.0}]

    def schedule(self, step):
        return 1 - step / self.steps

    def loss(self, batch):
        loss = nn.functional.cross_entropy(self.module(batch["x"]), batch["y"])
        return loss, {"half": loss.item() / 2}

    def validate(self):
        return {"half": 0.5}


class OwnLoop:
    def __init__(self, module, pairs):
        self.module, self.pairs = module, pairs

    def run(self, *, device, folder, seed):
        done = folder / "done.json"
        if done.is_file():
            self.module.load_state_dict(read_state_dict(folder / "done.safetensors"))
            return json.loads(done.read_text())
        history = []
        for number, (x, y) in enumerate(self.pairs, start=1):
            loss = nn.functional.cross_entropy(self.module(x.to(device)), y.to(device))
            loss.backward()
            descend(self.module.parameters(), 0.1)
            history.append({"epoch": number, "loss": loss.item()})
        save_state_dict(self.module.state_dict(), folder / "done.safetensors")
        done.write_text(json.dumps(history))
        return history

from copy import deepcopy

import torch
from omlab_toy_training import Pairs, Task
from torch import nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from omlab_payloads.classes import Classes


class Block(nn.Module):
    """Letters (1, L) -> scores (1, classes)."""

    def __init__(self, classes, width=8):
        super().__init__()
        self.letters = nn.Embedding(27, width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        tokens = self.letters(x)
        seen = scaled_dot_product_attention(self.query(tokens), self.key(tokens), self.value(tokens))
        return self.head((tokens + seen).mean(1))


class Reader:
    def __init__(self, classes):
        self.classes = list(classes)
        self.module = Block(len(self.classes)).eval()

    def prepare(self, verb, inputs, /):
        places = [max(0, ord(letter) - ord("A") + 1) for letter in inputs["sequence"].letters.upper() or "?"]
        return torch.tensor([[place if place < 27 else 0 for place in places]])

    def predict(self, batch, /):
        rows = [self.module(x.to(self.module.head.weight.device))[0].softmax(0).tolist() for x in batch]
        return [Classes(names=self.classes, probabilities=row) for row in rows]

    def layers(self):
        parts = [["letters"], ["query", "key", "value"], ["head"]]
        names = [name for name, _ in self.module.named_parameters()]
        return [[name for name in names if name.split(".")[0] in part] for part in parts]

    def retarget(self, recipe, about, *, settings, seed):
        other = Reader(about.classes.values())
        kept = {name: value for name, value in self.module.state_dict().items() if not name.startswith("head")}
        other.module.load_state_dict(deepcopy(kept), strict=False)
        return other

    def recipe(self, recipe, data, *, settings, seed):
        samples = [case.load() for case in data.cases("train")]
        y = [torch.tensor([self.classes.index(sample.target.predicted[0])]) for sample in samples]
        return Task(self.module, Pairs([self.prepare("", s.inputs) for s in samples], y, seed), cross_entropy)

    def config(self):
        return {"classes": self.classes}


def load(card, *, weights, needs, device, settings, config):
    model = Reader(config["classes"] if config else ["soluble", "membrane"])
    if weights is not None:
        weights.load(model.module)
    model.module.to(device)
    return model

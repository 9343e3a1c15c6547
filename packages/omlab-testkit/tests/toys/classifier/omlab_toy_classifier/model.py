from copy import deepcopy

import torch
from omlab_toy_training import Pairs, Task, as_tensor
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy, mse_loss

from omlab.errors import InputError
from omlab_payloads.classes import Classes
from omlab_payloads.embedding import Embedding
from omlab_payloads.scores import Scores


class Classifier:
    def __init__(self, outputs, gives="classes"):
        self.outputs, self.gives = list(outputs), gives
        body = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.module = nn.Sequential(body, nn.Linear(24, len(self.outputs)))

    def prepare(self, verb, inputs, /):
        if not inputs["scan"].is_finite():
            raise InputError("The scan has values that are not finite.")
        return as_tensor(inputs["scan"])

    def predict(self, batch, /):
        for x in batch:
            row = self.module(x.to(self.module[1].weight.device))[0].detach().cpu()
            if self.gives == "scores":
                yield Scores(values={self.outputs[0]: row.item()})
            else:
                yield Classes(names=self.outputs, probabilities=row.softmax(0).tolist())

    def embed(self, batch, /):
        features = [self.module[0](x.to(self.module[1].weight.device))[0] for x in batch]
        return [Embedding(vector=one.detach().cpu().numpy()) for one in features]

    def layers(self):
        return [["0.0.weight", "0.0.bias"], ["1.weight", "1.bias"]]

    def retarget(self, recipe, about, *, settings, seed):
        made = {"classification": (about.classes.values(), "classes"), "regression": (["target"], "scores")}
        other = Classifier(*made.get(recipe, (self.outputs, self.gives)))
        other.module[0].load_state_dict(deepcopy(self.module[0].state_dict()))
        return other

    def recipe(self, recipe, data, *, settings, seed):
        samples = [case.load() for case in data.cases("train")]
        x, module, measure = [as_tensor(sample.inputs["scan"]) for sample in samples], self.module, mse_loss
        if recipe == "classification":
            y, measure = [torch.tensor([self.outputs.index(s.target.predicted[0])]) for s in samples], cross_entropy
        elif recipe == "regression":
            y = [torch.tensor([[*sample.target.values.values()][:1]]) for sample in samples]
        else:  # masking, with a decoder that is no part of the model and is not kept
            y = [adaptive_avg_pool2d(one, 2).flatten(1) for one in x]
            module = nn.Sequential(nn.Dropout(), self.module[0], nn.Linear(24, 4))
        return Task(module, Pairs(x, y, seed), measure)

    def config(self):
        return {"outputs": self.outputs, "gives": self.gives}


def load(card, *, weights, needs, device, settings, config):
    model = Classifier(**(config or {"outputs": ["left", "right"]}))
    if weights is not None:
        weights.load(model.module)
    model.module.to(device).eval()
    return model

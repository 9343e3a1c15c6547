"""Endo-FM's classifier learns from scratch what is in the motion alone; with a single frame it cannot."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import omlab

sys.path.insert(0, str(Path(__file__).parent))

from motion import Motion

SETTINGS = {
    "epochs": 15,
    "batch_size": 16,
    "accumulate": 1,
    "learning_rate": 0.05,
    "min_learning_rate": 0.0,
    "warmup_epochs": 1.0,
    "weight_decay": 0.0,
    "layer_decay": 1.0,
    "label_smoothing": 0.0,
    "balanced": False,
    "multi_label": False,
}


def accuracy(*, frames: int) -> float:
    """Of a network that was trained from scratch, on other clips."""
    data = Motion()
    base = omlab.load_model("endofm-tiny.untrained", settings={"frames": frames, "seconds": 8.5}).model
    model = base.retarget("classification", data.about("train"), settings=SETTINGS, seed=0)
    recipe = model.recipe("classification", data, settings=SETTINGS, seed=0)
    optimiser = torch.optim.AdamW(recipe.groups())
    rates = [group["lr"] for group in optimiser.param_groups]
    model.module.train()
    for step in range(recipe.steps):
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * recipe.schedule(step)
        loss, _ = recipe.loss(recipe.batches(step))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    samples = [case.load() for case in data.cases("test")]
    found = model.predict([model.prepare("predict", sample.inputs) for sample in samples])
    right = [a.predicted == b.target.predicted for a, b in zip(found, samples, strict=True)]
    return sum(right) / len(right)


def test_motion_is_learnt_and_only_over_time() -> None:
    assert accuracy(frames=8) > 0.9
    assert accuracy(frames=1) < 0.75

"""The digest of what decides the course of a training, and seeds that are drawn from several numbers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from omlab_train.recipe import Recipe

_PLACES = 1000
"""At how many steps a schedule is looked at."""


def settings_digest(
    recipe: Recipe, *, module: nn.Module, optimizer: torch.optim.Optimizer, seed: int, processes: int
) -> str:
    """Digest of settings, schedule, groups, data (by the recipe's fingerprint) and initial weights.

    A checkpoint is resumed by a training with the same digest alone. Device and number of workers are no part of it.
    """
    names = {parameter: name for name, parameter in module.named_parameters()}
    settings = {
        "seed": seed,
        "processes": processes,
        "steps": recipe.steps,
        "epoch": recipe.epoch,
        "how": asdict(recipe.how),
        "schedule": [recipe.schedule(step) for step in range(0, recipe.steps, max(1, recipe.steps // _PLACES))],
        "groups": [_described(group, names) for group in optimizer.param_groups],
        "recipe": recipe.fingerprint,
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def mixed_seed(*numbers: int) -> int:
    """One seed of several numbers."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:8], "little", signed=True)


def _described(group: dict[str, Any], names: dict[nn.Parameter, str]) -> dict[str, Any]:
    parameters = [names.get(parameter, "") for parameter in group["params"]]
    return {"params": parameters, "lr": group["lr"], "weight_decay": group["weight_decay"]}


def _bytes(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data

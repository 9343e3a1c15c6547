"""A pre-trained encoder made ready for a recipe: with a head for classes, or as a student with its teacher."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from omlab.errors import TrainingError
from omlab.roles import About
from omlab_brow.distillation import SelfDistillation
from omlab_brow.vit import Brow, untrained
from omlab_image.answers import Task
from omlab_train.distillation import HeadConfig

Network = Brow | SelfDistillation

_HEAD = "head."


def retargeted(
    before: Network, *, recipe: str, about: About, settings: Mapping[str, Any], seed: int
) -> tuple[Network, Task]:
    """A copy of `before` for a recipe, and what it tells. Raises `TrainingError` where the data do not fit it."""
    if recipe == "self-distillation":
        return with_teacher(before, settings=settings, seed=seed), Task()
    task = Task.of(about, multi_label=settings["multi_label"])
    return with_head(before, classes=len(task.classes), drop_path=settings["drop_path"], seed=seed), task


def with_head(before: Network, *, classes: int, drop_path: float, seed: int) -> Brow:
    """The encoder of `before`, a teacher's where there is one, with a new head."""
    encoder = encoder_of(before)
    network = untrained(replace(encoder.config, classes=classes, drop_path=drop_path), seed=seed)
    _take(network, encoder)
    return network


def with_teacher(before: Network, *, settings: Mapping[str, Any], seed: int) -> SelfDistillation:
    """A student and a teacher that both begin as the encoder of `before`, with new heads.

    Where `before` has both and heads of that form, it is gone on with as it is.
    """
    head = HeadConfig(outputs=settings["outputs"], hidden=settings["hidden"], bottleneck=settings["bottleneck"])
    if isinstance(before, SelfDistillation) and before.head == head:
        network = copy.deepcopy(before)
    elif isinstance(before, Brow) and before.config.classes:
        raise TrainingError(
            "This network was fine-tuned to tell classes, which self-distillation would make it forget: pre-train the "
            "one that it was made from."
        )
    else:
        encoder = encoder_of(before)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = SelfDistillation(replace(encoder.config, drop_path=settings["drop_path"]), head=head)
        for tower in (network.student, network.teacher):
            tower.backbone.load_state_dict(encoder.state_dict())
    network.student_temperature = settings["student_temperature"]
    network.center_momentum, network.shuffle = settings["center_momentum"], settings["shuffle"]
    return network.eval()


def encoder_of(network: Network) -> Brow:
    """The network that gives features."""
    return network if isinstance(network, Brow) else network.encoder


def _take(network: Brow, encoder: Brow) -> None:
    """Copy all but a head."""
    state = {key: value for key, value in encoder.state_dict().items() if not key.startswith(_HEAD)}
    network.load_state_dict(state, strict=False)

"""A network made ready for a recipe: with a head for classes, or as a student with its teacher."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from omlab.errors import TrainingError
from omlab.roles import About
from omlab_endofm.backbone import Backbone
from omlab_endofm.classifier import Classifier, untrained_classifier
from omlab_endofm.distillation import ClipDistillation, with_teacher
from omlab_image.answers import Task
from omlab_train.distillation import HeadConfig

Network = Classifier | ClipDistillation

DINO = "dino"


def retargeted(
    before: Network, *, recipe: str, about: About, settings: Mapping[str, Any], seed: int
) -> tuple[Network, Task]:
    """A copy of `before` for a recipe, and what it tells. Raises `TrainingError` where the data do not fit it."""
    if recipe == DINO:
        return _distilling(before, settings=settings, seed=seed), Task()
    task = Task.of(about, multi_label=settings["multi_label"])
    network = untrained_classifier(before.config, classes=len(task.classes), seed=seed)
    network.backbone.load_state_dict(encoder_of(before).state_dict())
    return network, task


def encoder_of(network: Network) -> Backbone:
    """The backbone that gives features."""
    return network.backbone if isinstance(network, Classifier) else network.encoder


def _distilling(before: Network, *, settings: Mapping[str, Any], seed: int) -> ClipDistillation:
    """Where `before` has a teacher and heads of that form, it is gone on with as it is."""
    head = HeadConfig(outputs=settings["outputs"], hidden=settings["hidden"], bottleneck=settings["bottleneck"])
    if isinstance(before, ClipDistillation) and before.head == head:
        network = copy.deepcopy(before)
    elif isinstance(before, Classifier) and before.classes:
        raise TrainingError(
            "This network was fine-tuned to tell classes, which self-distillation would make it forget: pre-train the "
            "one that it was made from."
        )
    else:
        network = with_teacher(encoder_of(before), head=head, seed=seed)
    network.student_temperature = settings["student_temperature"]
    network.center_momentum = settings["center_momentum"]
    return network.eval()

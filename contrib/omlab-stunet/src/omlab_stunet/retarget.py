"""A trained network made ready for other targets: new heads, channels, plan; or old classes kept beside new ones."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from omlab.errors import TrainingError, WeightsWarning
from omlab.roles import About
from omlab_stunet.network import StuNet, StuNetConfig, untrained
from omlab_stunet.plan import fill_poolings
from omlab_stunet.task import Task
from omlab_stunet.weights import transfer
from omlab_volume.labels import default_colour
from omlab_volume.training.planning import plan_for, poolings_for
from omlab_volume.training.targets import channels_of, label_values, labels_of, mirrored_axes, volume_name
from omlab_volume.volume import Label

HEADS = "seg_outputs."


def retargeted(
    before: StuNet, *, task: Task, about: About, settings: Mapping[str, Any], seed: int
) -> tuple[StuNet, Task]:
    """A copy of `before`, trained for `task`, for what `about` tells of, and the task it is then made for.

    All weights but the heads' are taken over (`omlab_stunet.weights.transfer`), for several channels repeated. With
    `keep_classes` the heads' old outputs are kept too and outputs for classes of other names are added; plan and
    mirroring then stay, since the old classes were trained so.

    Raises:
        TrainingError: The data have no volumes, or name no classes.
        SettingsError: `spacing` or `patch_size` cannot be.
    """
    facts = about.facts.get(volume_name(about), {})
    labels, channels = labels_of(about), channels_of(about)
    if settings["keep_classes"]:
        network, task = _with_more_classes(before, task, labels, channels=channels, seed=seed)
        return network, task if settings["augment"] else replace(task, mirror_axes=())
    plan = plan_for(facts, plan=task.plan, spacing=settings["spacing"], patch_size=settings["patch_size"])
    assert plan.spacing is not None
    poolings = fill_poolings(poolings_for(plan.patch_size, plan.spacing))
    shape = replace(before.config, in_channels=channels, num_classes=len(labels) + 1, poolings=poolings)
    task = Task(
        plan=plan,
        labels=labels,
        mirror_axes=mirrored_axes(labels)
        if settings["augment"]
        else (),  # what was not mirrored in training must not be later
        intensities=tuple(facts.get("intensities") or task.intensities),
    )
    return _taken_over(before, shape, seed=seed), task


def taught_outputs(about: About, labels: Sequence[Label]) -> list[int]:
    """The output for each label value of the data, in their order: the class of the same name."""
    outputs = {label.name: output for output, label in enumerate(labels, start=1)}
    return [outputs[about.classes[value]] for value in label_values(about)]


def _taken_over(before: StuNet, shape: StuNetConfig, *, seed: int) -> StuNet:
    network = untrained(shape, seed=seed)
    done = transfer(before.state_dict(), network)
    left = [key for key in done.kept if not key.startswith(HEADS)]
    if left:
        warnings.warn(
            f"{len(left)} entries of the pretrained weights do not fit {shape.in_channels} channels and start anew: "
            f"{', '.join(left[:3])}.",
            WeightsWarning,
            stacklevel=2,
        )
    return network


def _with_more_classes(
    before: StuNet, task: Task, labels: tuple[Label, ...], *, channels: int, seed: int
) -> tuple[StuNet, Task]:
    """The old network with outputs added for classes whose names it does not have."""
    old = task.labels
    names = {label.name for label in old}
    added = [label for label in labels if label.name not in names]
    if channels != before.config.in_channels:
        raise TrainingError(
            f"The network takes {before.config.in_channels} channels and the data have {channels}: its classes "
            "can only be kept for the same."
        )
    if not added:
        raise TrainingError("All classes of the data are known to the network already: leave keep_classes out.")
    first = max(label.value for label in old) + 1
    new = tuple(replace(label, value=first + n, colour=default_colour(first + n)) for n, label in enumerate(added))
    count = before.config.num_classes
    network = _taken_over(before, replace(before.config, num_classes=count + len(new)), seed=seed)
    state = network.state_dict()
    with torch.no_grad():
        for key, value in before.state_dict().items():
            if key.startswith(HEADS):
                state[key][:count].copy_(value)
    taught = {label.name for label in labels}
    kept = tuple(output for output, label in enumerate(old, start=1) if label.name not in taught)
    return network, replace(task, labels=(*old, *new), kept=kept)

"""A network made ready for other targets: new heads, channels, windows; or for Volume Fusion."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from omlab.errors import WeightsWarning
from omlab.roles import About
from omlab_misfm.fusion import CLASSES
from omlab_misfm.levels import Mode
from omlab_misfm.networks import Config, Network, is_of_classes, made_for, untrained
from omlab_misfm.plan import checked_patch, fitting_patch
from omlab_misfm.task import FUSED, Task
from omlab_misfm.weights import transfer
from omlab_volume.inference.preprocess import Plan
from omlab_volume.training.planning import spacing_of
from omlab_volume.training.targets import channels_of, labels_of, mirrored_axes, volume_name


def retargeted(
    before: Network, *, task: Task, recipe: str, about: About, settings: Mapping[str, Any], seed: int
) -> tuple[Network, Task]:
    """A copy of `before`, trained for `task`, for what `about` tells of, and the task it is then made for.

    All weights of equal shape are taken over but the heads', which are kept where the classes stay the same ones.

    Raises:
        TrainingError: The data have no volumes, or name no classes.
        SettingsError: `spacing` or `patch_size` cannot be.
    """
    facts = about.facts.get(volume_name(about), {})
    fusion = recipe == "volume-fusion"
    labels = FUSED if fusion else labels_of(about)
    config = replace(
        before.config,
        in_channels=channels_of(about),
        num_classes=CLASSES if fusion else len(labels) + 1,
        resolution_mode=mode_of(settings["resolution_mode"], otherwise=before.config.resolution_mode),
    )
    spacing = spacing_of(settings["spacing"]) if settings["spacing"] else None
    stride = config.total_stride
    patch = (
        checked_patch(settings["patch_size"], stride=stride)
        if settings["patch_size"]
        else fitting_patch(facts, largest=task.plan.patch_size, stride=stride, spacing=spacing)
    )
    same = [label.name for label in labels] == [label.name for label in task.labels]
    network = _taken_over(before, made_for(config, patch), heads=same, seed=seed)
    flipped = mirrored_axes(labels) if settings.get("augment", True) else ()
    plan = Plan(spacing=spacing, patch_size=patch, normalisation="zscore")
    return network, Task(plan=plan, labels=labels, mirror_axes=flipped, fusion=fusion)


def mode_of(chosen: str, *, otherwise: Mode) -> Mode:
    """The resolution mode that a setting says."""
    modes: dict[str, Mode] = {"0": 0, "1": 1, "2": 2}
    return modes.get(chosen, otherwise)


def _taken_over(before: Network, config: Config, *, heads: bool, seed: int) -> Network:
    network = untrained(config, seed=seed)
    done = transfer(before.state_dict(), network, heads=heads)
    left = [key for key in done.kept if not is_of_classes(key)]
    if left:
        warnings.warn(
            f"{len(left)} entries of the weights do not fit {config.in_channels} channel(s) in resolution mode "
            f"{config.resolution_mode} and start anew: {', '.join(left[:3])}.",
            WeightsWarning,
            stacklevel=2,
        )
    return network

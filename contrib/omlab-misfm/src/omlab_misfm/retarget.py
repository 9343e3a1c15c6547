"""A network made ready for other targets: new heads, channels, windows; or for Volume Fusion."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from omlab.errors import TrainingError, WeightsWarning
from omlab.roles import About
from omlab_misfm.fusion import CLASSES
from omlab_misfm.levels import Mode
from omlab_misfm.networks import Config, Network, is_of_classes, made_for, untrained
from omlab_misfm.plan import checked_patch, checked_spacing, fitting_patch
from omlab_misfm.task import FUSED, Task
from omlab_misfm.weights import transfer
from omlab_volume.inference.preprocess import Plan
from omlab_volume.labels import default_colour
from omlab_volume.volume import Label


def retargeted(
    before: Network, *, task: Task, recipe: str, about: About, settings: Mapping[str, Any], seed: int
) -> tuple[Network, Task]:
    """A copy of `before`, trained for `task`, for what `about` tells of, and the task it is then made for.

    All weights of equal shape are taken over but the heads', which are kept where the classes stay the same ones.

    Raises:
        TrainingError: The data have no volumes, or name no classes.
        SettingsError: `spacing` or `patch_size` cannot be.
    """
    name = volume_name(about)
    facts = about.facts.get(name, {})
    fusion = recipe == "volume-fusion"
    labels = FUSED if fusion else _labels(about)
    config = replace(
        before.config,
        in_channels=int(facts.get("channels") or len(about.channels.get(name, ())) or 1),
        num_classes=CLASSES if fusion else len(labels) + 1,
        resolution_mode=mode_of(settings["resolution_mode"], otherwise=before.config.resolution_mode),
    )
    spacing = checked_spacing(settings["spacing"])
    stride = config.total_stride
    patch = (
        checked_patch(settings["patch_size"], stride=stride)
        if settings["patch_size"]
        else fitting_patch(facts, largest=task.plan.patch_size, stride=stride, spacing=spacing)
    )
    same = [label.name for label in labels] == [label.name for label in task.labels]
    network = _taken_over(before, made_for(config, patch), heads=same, seed=seed)
    sided = any("left" in label.name.lower() or "right" in label.name.lower() for label in labels)
    flipped = () if not settings.get("augment", True) else (0, 1) if sided else (0, 1, 2)
    plan = Plan(spacing=spacing, patch_size=patch, normalisation="zscore")
    return network, Task(plan=plan, labels=labels, mirror_axes=flipped, fusion=fusion)


def mode_of(chosen: str, *, otherwise: Mode) -> Mode:
    """The resolution mode that a setting says."""
    modes: dict[str, Mode] = {"0": 0, "1": 1, "2": 2}
    return modes.get(chosen, otherwise)


def label_values(about: About) -> list[int]:
    """The label values of the classes to learn: neither the background's nor those of voxels left out."""
    return [value for value in sorted(about.classes) if value != 0 and value not in about.ignored]


def volume_name(about: About) -> str:
    """The input that is a volume. Raises `TrainingError` where there is none, or several."""
    found = [name for name, kind in about.inputs.items() if kind == "volume"]
    if len(found) != 1:
        has = ", ".join(f"{name} ({kind})" for name, kind in about.inputs.items()) or "no inputs"
        raise TrainingError(f"MIS-FM trains on data with one volume a case, but these have {has}.")
    return found[0]


def _labels(about: About) -> tuple[Label, ...]:
    labels = tuple(
        Label(value=value, name=about.classes[value], colour=default_colour(value)) for value in label_values(about)
    )
    if not labels:
        raise TrainingError("The data set names no classes: there is nothing to learn.")
    return labels


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

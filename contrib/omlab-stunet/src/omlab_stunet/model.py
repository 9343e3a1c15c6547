"""STU-Net as a model of omlab: a volume in, a label map on its grid out; fine-tuned to other targets.

model = omlab.load_model("stunet-base", weights="base_ep4k.model")
labels = model.predict(omlab.read("ct.nii.gz"))
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from omlab.card_schema import ModelCard
from omlab.errors import InputError, TrainingError, UsageError, WeightsError, WeightsWarning
from omlab.roles import Payload, Sample
from omlab_stunet.labels import labels_for
from omlab_stunet.network import SIZES, StuNet, StuNetConfig, untrained
from omlab_stunet.plan import PUBLISHED_PLAN, TINY_PLAN, fill_poolings, plan_for, with_settings
from omlab_stunet.weights import check_size, config_from_state, load_network, read_checkpoint, transfer
from omlab_train.losses import deep_supervision_loss
from omlab_volume.inference.preprocess import Plan
from omlab_volume.inference.segment import segment
from omlab_volume.inference.sliding_window import Combine
from omlab_volume.labels import complete_labels, labels_from_json, labels_to_json, smallest_unsigned
from omlab_volume.training.segmentation import SegmentationTask, load_cases
from omlab_volume.volume import Intensity, Label, LabelMap, Volume

MODALITY: dict[str, str] = {"hu": "CT", "mr": "MR", "suv": "PET"}
COMBINE: dict[str, Combine] = {"v1": "probabilities", "v2": "logits"}
LEFT_RIGHT = 2
"""Axis x of (z, y, x): the one that mirroring must leave alone where classes differ by their side."""
LONG_TRAINING = 25_000
"""Steps from which on nnU-Net's momentum of 0.99 has time to settle; shorter trainings take 0.9."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a network was trained for: everything of a model but the weights, the architecture and the settings.

    `mirror_axes` are those of (z, y, x) that training mirrored, `intensities` what the images' values meant.
    """

    plan: Plan
    labels: tuple[Label, ...]
    mirror_axes: tuple[int, ...] = (0, 1, 2)
    intensities: tuple[Intensity, ...] = ("hu",)

    def to_config(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "plan": self.plan.to_dict(),
            "labels": json.loads(labels_to_json(self.labels)),
            "mirror_axes": list(self.mirror_axes),
            "intensities": list(self.intensities),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Task:
        """The reverse of `to_config`."""
        return cls(
            plan=Plan.from_dict(config["plan"]),
            labels=labels_from_json(json.dumps(config["labels"])),
            mirror_axes=tuple(int(axis) for axis in config["mirror_axes"]),
            intensities=tuple(config["intensities"]),
        )


def load(
    card: ModelCard,
    *,
    weights: Path | None,
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> StuNetModel:
    """The entry of the cards. `stunet` takes the size from the file (small without one), `stunet-X` insists on X.

    Raises:
        WeightsError: The file cannot be read, is of another size or network; names the keys.
        SettingsError: `spacing` or `patch_size` cannot be.
    """
    size = card.name.removeprefix("stunet").removeprefix("-")
    plan = TINY_PLAN if size == "tiny" else PUBLISHED_PLAN
    if config is not None:
        shape, task = _from_config(config)
        network = (
            untrained(shape)
            if weights is None
            else load_network(read_checkpoint(weights), config=shape, source=weights)
        )
    elif weights is not None:
        state = read_checkpoint(weights)
        shape = config_from_state(state, source=weights)
        if size:
            check_size(shape, size=size, state=state, source=weights)
        network, task = (
            load_network(state, config=shape, source=weights),
            Task(plan=plan, labels=labels_for(shape.num_classes)),
        )
    else:
        network = untrained(SIZES[size or "small"])
        task = Task(plan=plan, labels=labels_for(network.config.num_classes))
    return StuNetModel(network, task=task, device=device, settings=settings)


class StuNetModel:
    """A network with its task; fulfils `omlab.roles.Model` and `Finetunable`.

    Args:
        module: The network.
        task: What it was trained for.
        device: "cpu", "cuda" or "cuda:N".
        settings: Those of the card, complete.
    """

    def __init__(self, module: StuNet, *, task: Task, device: str, settings: Mapping[str, Any]) -> None:
        self.plan = with_settings(
            task.plan,
            poolings=module.config.poolings,
            spacing=settings["spacing"],
            patch_size=settings["patch_size"],
        )
        self.module = on_device(module.eval(), device)
        self.task = task
        self.settings = dict(settings)

    def predict(self, payload: Payload) -> LabelMap:
        """The label map of a volume, on its grid.

        Raises:
            UsageError: The payload is no volume.
            InputError: It has another number of channels, or is of another modality than the training images.
        """
        if not isinstance(payload, Volume):
            raise UsageError(f"STU-Net segments volumes, but was given a {payload.kind}.")
        self._check_modality(payload)
        labels = [replace(label, value=index) for index, label in enumerate(self.task.labels, start=1)]
        found = segment(
            self.module.eval(),
            payload,
            plan=self.plan,
            labels=labels,
            classes=self.module.config.num_classes,
            channels=self.module.config.in_channels,
            mirror=self.task.mirror_axes if self.settings["mirror"] else False,
            combine=COMBINE[self.settings["variant"]],
            step=self.settings["step"],
            batch_size=self.settings["batch_size"],
            device=next(self.module.parameters()).device,
        )
        values = np.array([0, *(label.value for label in self.task.labels)])
        if np.array_equal(values, np.arange(len(values))):
            return found
        array = smallest_unsigned(values, what="the label values of this model")[found.array]
        return replace(found, array=array, labels=self.task.labels)

    def retarget(self, samples: Sequence[Sample], *, seed: int) -> StuNetModel:
        """A copy for the classes, channels, spacing and intensities of `samples`, with new heads.

        All weights but the heads' are taken over (`omlab_stunet.weights.transfer`), for several channels repeated.

        Raises:
            TrainingError: There is no sample, one has no volume with a label map on its grid, they differ in
                channels or in what a label value means, or nothing is labelled.
        """
        channels, labels = _channels(samples), _labels(samples)
        spacing, patch_size = self.settings["spacing"], self.settings["patch_size"]
        plan, poolings = plan_for(samples, spacing=spacing, patch_size=patch_size)
        shape = replace(self.module.config, in_channels=channels, num_classes=len(labels) + 1, poolings=poolings)
        network = untrained(shape, seed=seed)
        done = transfer(self.module.state_dict(), network)
        left = [key for key in done.kept if not key.startswith("seg_outputs.")]
        if left:
            warnings.warn(
                f"{len(left)} entries of the pretrained weights do not fit {channels} channels and start anew: "
                f"{', '.join(left[:3])}.",
                WeightsWarning,
                stacklevel=2,
            )
        sided = any("left" in label.name.lower() or "right" in label.name.lower() for label in labels)
        task = Task(
            plan=plan,
            labels=labels,
            mirror_axes=(0, 1) if sided else (0, 1, 2),
            intensities=tuple(sorted({s.payload.intensity for s in samples if isinstance(s.payload, Volume)})),
        )
        device = str(next(self.module.parameters()).device)
        return StuNetModel(
            network, task=task, device=device, settings={**self.settings, "spacing": [], "patch_size": []}
        )

    def training_task(self, samples: Sequence[Sample], *, settings: Mapping[str, Any], seed: int) -> SegmentationTask:
        """Training with nnU-Net's loss and schedule: deep supervision, sample Dice + cross-entropy, SGD.

        `settings` are the adapter's: epochs, steps_per_epoch, batch_size, learning_rate, augment, and
        `spacing` and `patch_size`, with which the plan is made again unless they are empty.
        """
        if not settings["augment"]:  # what was not mirrored in training must not be mirrored when predicting
            self.task = replace(self.task, mirror_axes=())
        if settings["spacing"] or settings["patch_size"]:
            self._plan_again(samples, spacing=settings["spacing"], patch_size=settings["patch_size"])
        steps = settings["epochs"] * settings["steps_per_epoch"]
        return SegmentationTask(
            module=self.module,
            cases=load_cases(
                samples,
                self.plan,
                classes=[label.value for label in self.task.labels],
                channels=self.module.config.in_channels,
            ),
            patch_size=self.plan.patch_size,
            batch_size=settings["batch_size"],
            steps_per_epoch=settings["steps_per_epoch"],
            epochs=settings["epochs"],
            learning_rate=settings["learning_rate"],
            loss=deep_supervision_loss,
            seed=seed,
            augment=settings["augment"],
            mirror_axes=self.task.mirror_axes,
            momentum=0.99 if steps >= LONG_TRAINING else 0.9,
        )

    def config(self) -> dict[str, Any]:
        """Everything but the weights, as JSON: architecture, plan, labels, mirroring, intensities."""
        shape = self.module.config
        return {
            "depth": list(shape.depth),
            "dims": list(shape.dims),
            "in_channels": shape.in_channels,
            "num_classes": shape.num_classes,
            "poolings": [list(pooling) for pooling in shape.poolings],
            **replace(self.task, plan=self.plan).to_config(),
        }

    def _plan_again(self, samples: Sequence[Sample], *, spacing: Sequence[Any], patch_size: Sequence[Any]) -> None:
        """Another spacing or window; poolings hold no weights, so the network keeps its own."""
        plan, poolings = plan_for(samples, spacing=spacing, patch_size=patch_size)
        network = StuNet(replace(self.module.config, poolings=poolings))
        network.load_state_dict(self.module.state_dict())
        self.module = on_device(network.eval(), next(self.module.parameters()).device)
        self.task = replace(self.task, plan=plan)
        self.plan = plan

    def _check_modality(self, volume: Volume) -> None:
        known = [MODALITY.get(kind, "") for kind in self.task.intensities]
        found = MODALITY.get(volume.intensity, "")
        if found and all(known) and found not in known:
            where = str(volume.source.paths[0]) if volume.source and volume.source.paths else "The volume"
            raise InputError(
                f"{where} is {found}, but this network was trained on {' and '.join(known)}: "
                f"fine-tune it on {found} first (omlab adapt)."
            )


def on_device(network: StuNet, device: str | torch.device) -> StuNet:
    """`network` moved there, on a GPU channels-last: the layout in which tensor cores take their convolutions.

    On a CPU both layouts take about as long (benchmarks/network.py).
    """
    layout = torch.channels_last_3d if torch.device(device).type == "cuda" else torch.contiguous_format
    placed: StuNet = network.to(device, memory_format=layout)  # type: ignore[call-overload]  # torch's stubs lack it
    return placed


def _from_config(config: Mapping[str, Any]) -> tuple[StuNetConfig, Task]:
    try:
        shape = StuNetConfig(
            depth=tuple(config["depth"]),
            dims=tuple(config["dims"]),
            in_channels=config["in_channels"],
            num_classes=config["num_classes"],
            poolings=fill_poolings(config["poolings"], count=len(config["poolings"])),
        )
        return shape, Task.from_config(config)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"The configuration is not one of an adapted STU-Net ({type(error).__name__}: {error})."
        ) from error


def _channels(samples: Sequence[Sample]) -> int:
    counts = {s.payload.channels: s.id for s in samples if isinstance(s.payload, Volume)}
    if not counts:
        raise TrainingError("There is no volume to train on.")
    if len(counts) > 1:
        (first, one), (second, other), *_ = sorted(counts.items())
        raise TrainingError(f"Case '{one}' has {first} channels and case '{other}' {second}: they must agree.")
    return next(iter(counts))


def _labels(samples: Sequence[Sample]) -> tuple[Label, ...]:
    """The labels of all targets by value; a value without a name is named after itself."""
    labels: dict[int, Label] = {}
    for sample in samples:
        if not isinstance(sample.target, LabelMap):
            raise TrainingError(f"Case '{sample.id}' has no label map to learn from.")
        for label in complete_labels(sample.target):
            known = labels.setdefault(label.value, label)
            if known.name != label.name:
                raise TrainingError(
                    f"Label {label.value} is '{label.name}' in case '{sample.id}' but '{known.name}' in another one."
                )
    if not labels:
        raise TrainingError("No voxel of any case is labelled: there is nothing to learn.")
    return tuple(labels[value] for value in sorted(labels))

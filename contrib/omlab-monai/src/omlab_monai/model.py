"""A network of MONAI's as a model of omlab: trained on own data, then a volume in and a label map on its grid out.

omlab adapt monai-segresnet --data nnunet:Dataset001/ --recipe segmentation --adapter finetune -o mine/
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

import omlab
from omlab.answers import one_by_one
from omlab.card_schema import ModelCard
from omlab.errors import OmlabError, SettingsError, WeightsError, WeightsWarning
from omlab.payloads import Inputs
from omlab.roles import About, Dataset
from omlab.weights import Weights
from omlab_monai.beginnings import LABELS, PLAN, POOLINGS, width_of
from omlab_monai.networks import ARCHITECTURES, NetworkConfig, built, fitted, layers_of, stride_of
from omlab_volume.inference.preprocess import Plan
from omlab_volume.inference.segment import segment
from omlab_volume.inference.task import Task, by_output, with_values
from omlab_volume.training.planning import plan_for, poolings_for, spacing_of, window_of
from omlab_volume.training.targets import channels_of, labels_of, mirrored_axes, volume_name
from omlab_volume.volume import LabelMap, Volume

NEW_CLASSES = 133
"""The first of VISTA3D's numbers that stand for no class of its own."""


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> MonaiModel:
    """The entry of the cards of networks.

    Raises:
        WeightsError: The file or the configuration is of another network.
        SettingsError: `width`, `spacing` or `patch_size` cannot be.
    """
    if config is not None:
        shape, task = _from_config(config)
    elif card.name == "monai-vista3d":
        from omlab_monai.published import vista3d

        return MonaiModel(*vista3d(weights, settings), device=device, settings=settings)
    else:
        architecture = card.name.removeprefix("monai-")
        shape = NetworkConfig(
            architecture=architecture,
            width=width_of(settings["width"], architecture=architecture),
            poolings=POOLINGS if architecture == "dynunet" else (),
        )
        task = Task(plan=PLAN, labels=LABELS)
    network = built(shape)
    if weights is not None:
        weights.load(network)
    return MonaiModel(network, shape, task, device=device, settings=settings)


class MonaiModel:
    """A network with its task: the verb `predict`, and the recipe `segmentation` (`omlab.roles.Trainable`).

    Args:
        module: The network.
        shape: How it was built.
        task: What it is for.
        device: "cpu", "cuda" or "cuda:N".
        settings: Those of the card, complete.
    """

    def __init__(
        self, module: nn.Module, shape: NetworkConfig, task: Task, *, device: str, settings: Mapping[str, Any]
    ) -> None:
        self.plan = _with_settings(task.plan, shape, settings)
        self.module = module.to(device).eval()
        self.shape, self.task, self.settings = shape, task, dict(settings)

    @property
    def device(self) -> str:
        """Where the network is."""
        return str(next(self.module.parameters()).device)

    def predict(self, batch: Sequence[Inputs], /) -> Iterator[LabelMap | OmlabError]:
        """The label map of each volume, on its grid; a volume of other channels is that case's `InputError`."""
        return one_by_one(batch, lambda inputs: self.segment(omlab.take(inputs, "volume", Volume)))

    def segment(self, volume: Volume) -> LabelMap:
        """The label map of one volume. Raises `InputError` where it has other channels than the training images."""
        found = segment(
            self.module.eval(),
            volume,
            plan=self.plan,
            labels=by_output(self.task.labels),
            classes=self.shape.num_classes,
            channels=self.shape.in_channels,
            mirror=self.task.mirror_axes if self.settings["mirror"] else False,
            combine="logits",
            step=self.settings["step"],
            batch_size=self.settings["batch_size"],
            device=self.device,
        )
        return with_values(found, self.task.labels)

    def layers(self) -> list[list[str]]:
        """Parameter names from input to head."""
        return layers_of(self.module, self.shape)

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> MonaiModel:
        """A copy for the classes, channels, spacing and intensities that `about` tells of; its head starts anew.

        Raises:
            TrainingError: The data have no volumes, or name no classes.
            SettingsError: `spacing` or `patch_size` cannot be.
        """
        labels = labels_of(about)
        chosen = {name: settings[name] or self.settings[name] for name in ("spacing", "patch_size")}
        shape = replace(self.shape, in_channels=channels_of(about), num_classes=len(labels) + 1)
        if shape.classes:
            shape = replace(shape, classes=tuple(range(NEW_CLASSES, NEW_CLASSES + len(labels))))
        if (
            shape.classes and self.plan.normalisation == "ct"
        ):  # trained weights know intensities and voxels of their own
            plan = _with_settings(self.plan, shape, chosen)
        else:
            plan = plan_for(about.facts.get(volume_name(about), {}), plan=self.plan, **chosen)
        if shape.poolings:
            assert plan.spacing is not None
            shape = replace(shape, poolings=tuple(poolings_for(plan.patch_size, plan.spacing)) or POOLINGS[:1])
        if not chosen["patch_size"]:
            plan = replace(plan, patch_size=fitted(plan.patch_size, shape))
        network = built(shape, seed=seed)
        _take_over(self.module.state_dict(), network, shape)
        mirrored = mirrored_axes(labels) if settings["augment"] else ()  # what training did not mirror, nothing must
        task = Task(plan=plan, labels=labels, mirror_axes=mirrored)
        return MonaiModel(network, shape, task, device=self.device, settings=self.settings)

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """Dice and cross-entropy on windows, AdamW (`omlab_monai.training`)."""
        from omlab_monai.training import segmentation

        return segmentation(self, data, settings=settings, seed=seed)

    def config(self) -> dict[str, Any]:
        """Everything but the weights, as JSON: architecture, plan, labels, mirroring."""
        poolings = [list(pooling) for pooling in self.shape.poolings]
        shape = {**asdict(self.shape), "poolings": poolings, "classes": list(self.shape.classes)}
        return {"network": shape, **replace(self.task, plan=self.plan).to_config()}


def _with_settings(plan: Plan, shape: NetworkConfig, settings: Mapping[str, Any]) -> Plan:
    """`plan` with a user's spacing and window. Raises `SettingsError` where the network cannot take the window."""
    if settings["spacing"]:
        plan = replace(plan, spacing=spacing_of(settings["spacing"]))
    if settings["patch_size"]:
        plan = replace(plan, patch_size=window_of(settings["patch_size"]))
    if fitted(plan.patch_size, shape) != plan.patch_size:
        raise SettingsError(
            f"patch_size is {plan.patch_size}, but monai-{shape.architecture} needs multiples of {stride_of(shape)}, "
            f"twice that at least: {fitted(plan.patch_size, shape)} would do."
        )
    return plan


def _take_over(state: Mapping[str, Tensor], network: nn.Module, shape: NetworkConfig) -> None:
    """Copy into `network` all that fits but the head; what else does not fit is warned about."""
    own, architecture = network.state_dict(), ARCHITECTURES[shape.architecture]
    head = () if architecture.keeps_head else architecture.head
    fits = {key for key, value in state.items() if key in own and own[key].shape == value.shape}
    with torch.no_grad():
        for key in fits:
            if not key.startswith(head):
                own[key].copy_(state[key])
    anew = [key for key in own if key not in fits and not key.startswith(head)]
    if anew:
        warnings.warn(
            f"{len(anew)} entries do not fit the window or the {shape.in_channels} channels of the data and start "
            f"anew: {', '.join(anew[:3])}.",
            WeightsWarning,
            stacklevel=3,
        )


def _from_config(config: Mapping[str, Any]) -> tuple[NetworkConfig, Task]:
    try:
        shape = {**config["network"]}
        poolings = tuple((int(z), int(y), int(x)) for z, y, x in shape.pop("poolings"))
        classes = tuple(int(number) for number in shape.pop("classes"))
        return NetworkConfig(**shape, poolings=poolings, classes=classes), Task.from_config(config)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"The configuration is not one of an adapted network of MONAI ({type(error).__name__}: {error})."
        ) from error

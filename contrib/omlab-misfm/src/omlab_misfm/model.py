"""PCT-Net and FMUNet as models of omlab: a volume in, a label map on its grid out; trained for other targets.

session = omlab.load_model("misfm-pctnet", weights="pctnet_ct10k_volf.pt")
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import omlab
from omlab.answers import one_by_one
from omlab.card_schema import ModelCard
from omlab.errors import OmlabError, OmlabWarning, SettingsError, WeightsError, WeightsWarning
from omlab.payloads import Inputs
from omlab.roles import About, Dataset
from omlab.weights import Weights
from omlab_misfm.networks import (
    CONFIGS,
    PATCH,
    TINY_PATCH,
    Config,
    Network,
    config_from_json,
    config_to_json,
    layers_of,
    made_for,
    untrained,
)
from omlab_misfm.plan import checked_patch
from omlab_misfm.retarget import mode_of, retargeted
from omlab_misfm.task import Task, own_plan, pretraining
from omlab_misfm.weights import check_index, config_from_state, transfer
from omlab_misfm.windows import IN_PLANE, strides_of, tiling
from omlab_volume.inference.segment import segment
from omlab_volume.inference.task import by_output, with_values
from omlab_volume.labels import default_colour
from omlab_volume.volume import Label, LabelMap, Volume


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> MisfmModel:
    """The entry of the cards.

    Raises:
        WeightsError: The file cannot be read, or is another network's; names the keys.
        SettingsError: `patch_size` cannot be.
    """
    if config is not None:
        shape, task = _from_config(config)
        network = untrained(shape)
        if weights is not None:
            weights.load(network)
        return MisfmModel(network, task=task, device=device, settings=settings)
    base = CONFIGS[card.name]
    patch = TINY_PATCH if card.name.endswith("-tiny") else PATCH
    if weights is None:
        base = replace(base, resolution_mode=mode_of(settings["resolution_mode"], otherwise=base.resolution_mode))
        patch = _chosen_patch(base, settings, otherwise=patch)
        network = untrained(made_for(base, patch))
    else:
        network, patch = _from_file(weights, base, patch=patch, settings=settings)
    task = _task_of(network.config, patch=patch)
    return MisfmModel(network, task=task, device=device, settings=settings)


class MisfmModel:
    """A network with its task: the verb `predict`, and both recipes (`omlab.roles.Trainable`).

    Args:
        module: The network.
        task: What it was trained for.
        device: "cpu", "cuda" or "cuda:N".
        settings: Those of the card, complete.
    """

    def __init__(self, module: Network, *, task: Task, device: str, settings: Mapping[str, Any]) -> None:
        self.module = module.eval().to(device)
        self.settings = dict(settings)
        if settings["patch_size"]:
            patch = checked_patch(settings["patch_size"], stride=module.config.total_stride)
            if made_for(module.config, patch) != module.config:
                raise SettingsError(
                    f"patch_size is {list(patch)}, but this PCT-Net was trained with {list(task.plan.patch_size)}: "
                    "fine-tune it again for another one."
                )
            task = replace(task, plan=replace(task.plan, patch_size=patch))
        self.task, self.plan = task, task.plan

    @property
    def device(self) -> str:
        """Where the network is."""
        return str(next(self.module.parameters()).device)

    def predict(self, batch: Sequence[Inputs], /) -> Iterator[LabelMap | OmlabError]:
        """The label map of each volume, on its grid; a volume at a time, as its windows fill the device.

        A case fails with an `InputError` where its volume has another number of channels.
        """
        return one_by_one(batch, lambda inputs: self.segment(omlab.take(inputs, "volume", Volume)))

    def segment(self, volume: Volume) -> LabelMap:
        """The label map of one volume. Raises `InputError` as `predict` says."""
        if self.task.fusion:
            warnings.warn(
                "This network is pre-trained by Volume Fusion and knows no anatomy: its labels mean nothing until it "
                "is fine-tuned (omlab adapt --recipe segmentation).",
                OmlabWarning,
                stacklevel=2,
            )
        found = segment(
            self.module.eval(),
            volume,
            plan=self.plan,
            labels=by_output(self.task.labels),
            classes=self.module.config.num_classes,
            channels=self.module.config.in_channels,
            mirror=[axis for axis in IN_PLANE if axis in self.task.mirror_axes] if self.settings["mirror"] else False,
            combine="logits",
            batch_size=self.settings["batch_size"],
            device=self.device,
            tiling=tiling(stride=strides_of(self.plan.patch_size, self.settings["step"])),
        )
        return with_values(found, self.task.labels)

    def layers(self) -> list[list[str]]:
        """Parameter names from input to head."""
        return layers_of(self.module)

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> MisfmModel:
        """A copy for the classes, channels and sizes that `about` tells of (`omlab_misfm.retarget`)."""
        own, given = list(self.settings["patch_size"]), list(settings["patch_size"])
        if own and given and own != given:
            raise SettingsError(
                f"'patch_size' is {own} of the model but {given} of the recipe: give it once, without 'model.'."
            )
        chosen = {**settings, "patch_size": own or given}
        network, task = retargeted(self.module, task=self.task, recipe=recipe, about=about, settings=chosen, seed=seed)
        return MisfmModel(network, task=task, device=self.device, settings=self.settings)

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """PyMIC's fine-tuning, or Volume Fusion (`omlab_misfm.training`)."""
        from omlab_misfm.training import fusion, segmentation

        make = fusion if recipe == "volume-fusion" else segmentation
        return make(self, data, settings=settings, seed=seed)

    def config(self) -> dict[str, Any]:
        """Everything but the weights, as JSON: architecture, plan, labels."""
        return {**config_to_json(self.module.config), **self.task.to_config()}


def _from_file(
    weights: Weights, base: Config, *, patch: tuple[int, int, int], settings: Mapping[str, Any]
) -> tuple[Network, tuple[int, int, int]]:
    """The network of a file, made for `patch_size` where that is given: its tables are resized then."""
    source, state = weights.path(), weights.state_dict()
    chosen = settings["resolution_mode"]
    mode = mode_of(chosen, otherwise=0) if chosen != "own" else None
    check_index(state, source=source)
    wanted = None
    try:
        found = config_from_state(state, base=base, mode=mode, source=source)
        wanted = _chosen_patch(found, settings, otherwise=patch)
    except WeightsError:
        if not settings["patch_size"]:
            raise
        own = base if mode is None else replace(base, resolution_mode=mode)
        patch = wanted = _chosen_patch(own, settings, otherwise=patch)
        found = config_from_state(state, base=made_for(own, patch), mode=mode, source=source)
    network = untrained(found)
    weights.load(network, state=state)
    if made_for(found, wanted) == found:
        return network, wanted
    other = untrained(made_for(found, wanted))
    done = transfer(network.state_dict(), other, heads=True)
    if done.changed:
        warnings.warn(
            f"The tables of relative positions are resized for windows of {list(wanted)} voxels: fine-tune the network "
            "before its labels are used.",
            WeightsWarning,
            stacklevel=2,
        )
    return other, wanted


def _chosen_patch(
    config: Config, settings: Mapping[str, Any], *, otherwise: tuple[int, int, int]
) -> tuple[int, int, int]:
    chosen = settings["patch_size"]
    return checked_patch(chosen, stride=config.total_stride) if chosen else otherwise


def _task_of(config: Config, *, patch: tuple[int, int, int]) -> Task:
    """Volume Fusion, where there are as many classes as it has; else classes without names."""
    task = pretraining(patch)
    if config.num_classes == len(task.labels) + 1:
        return task
    labels = tuple(Label(value=n, name=f"class {n}", colour=default_colour(n)) for n in range(1, config.num_classes))
    return Task(plan=own_plan(patch), labels=labels)


def _from_config(config: Mapping[str, Any]) -> tuple[Config, Task]:
    try:
        return config_from_json(config), Task.from_config(config)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"The configuration is not one of an adapted MIS-FM network ({type(error).__name__}: {error})."
        ) from error

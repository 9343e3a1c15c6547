"""STU-Net as a model of omlab: a volume in, a label map on its grid out; trained for other targets.

session = omlab.load_model("stunet-base", weights="base_ep4k.model")
labels = session.predict(omlab.read("ct.nii.gz"))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import omlab
from omlab.answers import one_by_one
from omlab.card_schema import ModelCard
from omlab.errors import InputError, OmlabError, SettingsError, WeightsError
from omlab.payloads import Inputs
from omlab.roles import About, Dataset
from omlab.weights import Weights
from omlab_stunet.labels import labels_for
from omlab_stunet.network import SIZES, StuNet, StuNetConfig, layers_of, on_device, untrained
from omlab_stunet.plan import PUBLISHED_PLAN, TINY_PLAN, fill_poolings, with_settings
from omlab_stunet.retarget import retargeted
from omlab_stunet.task import Task
from omlab_stunet.weights import check_size, config_from_state, load_network
from omlab_volume.inference.segment import segment
from omlab_volume.inference.sliding_window import Combine
from omlab_volume.inference.task import by_output, with_values
from omlab_volume.volume import LabelMap, Volume

MODALITY: dict[str, str] = {"hu": "CT", "mr": "MR", "suv": "PET"}
COMBINE: dict[str, Combine] = {"v1": "probabilities", "v2": "logits"}


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
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
        network = untrained(shape)
        if weights is not None:
            network = load_network(weights.state_dict(), config=shape, source=weights.path())
    elif weights is not None:
        source, state = weights.path(), weights.state_dict()
        shape = config_from_state(state, source=source)
        if size:
            check_size(shape, size=size, state=state, source=source)
        network = load_network(state, config=shape, source=source)
        task = Task(plan=plan, labels=labels_for(shape.num_classes))
    else:
        network = untrained(SIZES[size or "small"])
        task = Task(plan=plan, labels=labels_for(network.config.num_classes))
    return StuNetModel(network, task=task, device=device, settings=settings)


class StuNetModel:
    """A network with its task: the verb `predict`, and the recipe `segmentation` (`omlab.roles.Trainable`).

    Args:
        module: The network.
        task: What it was trained for.
        device: "cpu", "cuda" or "cuda:N".
        settings: Those of the card, complete.
        before: The network that this one was made from, where its classes are kept and may be forgotten.
    """

    def __init__(
        self,
        module: StuNet,
        *,
        task: Task,
        device: str,
        settings: Mapping[str, Any],
        before: StuNet | None = None,
    ) -> None:
        self.plan = with_settings(
            task.plan,
            poolings=module.config.poolings,
            spacing=settings["spacing"],
            patch_size=settings["patch_size"],
        )
        self.module = on_device(module.eval(), device)
        self.task = task
        self.settings = dict(settings)
        self.before = before

    @property
    def device(self) -> str:
        """Where the network is."""
        return str(next(self.module.parameters()).device)

    def predict(self, batch: Sequence[Inputs], /) -> Iterator[LabelMap | OmlabError]:
        """The label map of each volume, on its grid; a volume at a time, as its windows fill the device.

        A case fails with an `InputError` where its volume has another number of channels, or is of another modality
        than the training images.
        """
        return one_by_one(batch, lambda inputs: self.segment(omlab.take(inputs, "volume", Volume)))

    def segment(self, volume: Volume) -> LabelMap:
        """The label map of one volume. Raises `InputError` as `predict` says."""
        self._check_modality(volume)
        found = segment(
            self.module.eval(),
            volume,
            plan=self.plan,
            labels=by_output(self.task.labels),
            classes=self.module.config.num_classes,
            channels=self.module.config.in_channels,
            mirror=self.task.mirror_axes if self.settings["mirror"] else False,
            combine=COMBINE[self.settings["variant"]],
            step=self.settings["step"],
            batch_size=self.settings["batch_size"],
            device=self.device,
        )
        return with_values(found, self.task.labels)

    def layers(self) -> list[list[str]]:
        """Parameter names from input to head: encoder stages, decoder stages, heads."""
        return layers_of(self.module)

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> StuNetModel:
        """A copy for the classes, channels, spacing and intensities that `about` tells of (`omlab_stunet.retarget`)."""
        chosen = {name: _agreed(name, self.settings[name], settings[name]) for name in ("spacing", "patch_size")}
        network, task = retargeted(
            self.module,
            task=replace(self.task, plan=self.plan),
            about=about,
            settings={**settings, **chosen},
            seed=seed,
        )
        before = self.module if settings["keep_classes"] else None
        return StuNetModel(network, task=task, device=self.device, settings=self.settings, before=before)

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """Training with nnU-Net's loss and schedule (`omlab_stunet.training`)."""
        from omlab_stunet.training import segmentation

        return segmentation(self, data, settings=settings, seed=seed)

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

    def _check_modality(self, volume: Volume) -> None:
        known = [MODALITY.get(kind, "") for kind in self.task.intensities]
        found = MODALITY.get(volume.intensity, "")
        if found and all(known) and found not in known:
            where = str(volume.source.paths[0]) if volume.source and volume.source.paths else "The volume"
            raise InputError(
                f"{where} is {found}, but this network was trained on {' and '.join(known)}: "
                f"fine-tune it on {found} first (omlab adapt)."
            )


def _agreed(name: str, own: Sequence[Any], given: Sequence[Any]) -> Sequence[Any]:
    """What the model was loaded with, or what the recipe is given. Raises `SettingsError` where both say otherwise."""
    if own and given and list(own) != list(given):
        raise SettingsError(
            f"'{name}' is {list(own)} of the model but {list(given)} of the recipe: give it once, without 'model.'."
        )
    return own or given


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

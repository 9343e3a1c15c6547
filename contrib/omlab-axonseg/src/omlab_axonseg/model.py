"""Axon networks as models of omlab: a cube in, a label map on its grid out; trained for other axons.

session = omlab.load_model("axonseg-cube", weights="joint.model")
axons = session.predict(omlab.read("cube.nii.gz"))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

import omlab
from omlab.answers import one_by_one
from omlab.card_schema import ModelCard
from omlab.errors import OmlabError, SettingsError
from omlab.payloads import Inputs
from omlab.roles import About, Dataset
from omlab.weights import Weights
from omlab_axonseg.axon_networks import (
    AxonNetwork,
    from_config,
    layers_of,
    of_state,
    to_config,
    untrained,
    with_targets,
)
from omlab_axonseg.residual_unet import ResidualUNet
from omlab_volume.inference.preprocess import Plan
from omlab_volume.inference.segment import segment
from omlab_volume.inference.task import by_output, with_values
from omlab_volume.labels import default_colour, labels_from_json, labels_to_json
from omlab_volume.training.planning import window_of
from omlab_volume.training.targets import channels_of, labels_of
from omlab_volume.volume import Label, LabelMap, Volume

AXON: tuple[Label, ...] = (Label(value=1, name="axon", colour=default_colour(1)),)
WINDOW = (128, 128, 128)


def network_for(
    card: ModelCard, *, weights: Weights | None, settings: Mapping[str, Any], config: Mapping[str, Any] | None
) -> AxonNetwork:
    """The network of a card: what a file holds, else the setting `network` untrained. Raises `WeightsError`."""
    if config is not None:
        network = from_config(config["network"])
        if weights is not None:
            weights.load(network)
        return network
    if weights is not None:
        return of_state(weights.state_dict(), source=weights.path())
    return untrained(settings["network"], tiny=card.name.endswith("-tiny"))


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> AxonModel:
    """The entry of the cards `axonseg-cube*`."""
    network = network_for(card, weights=weights, settings=settings, config=config)
    labels, window = AXON, window_for(network, tiny=card.name.endswith("-tiny"))
    if config is not None:
        labels = labels_from_json(config["labels"], what="The configuration")
        window = window_of(config["window"])
    return AxonModel(network, labels=labels, window=window, device=device, settings=settings)


def window_for(network: AxonNetwork, *, tiny: bool) -> tuple[int, int, int]:
    """The window that a network takes, where nothing else says it."""
    if isinstance(network, ResidualUNet):
        return (32, 32, 32) if tiny else WINDOW
    return network.config.volume


class AxonModel:
    """A network with its labels: the verb `predict` for cubes, and the recipe `segmentation`.

    Args:
        module: The network.
        labels: Of its outputs 1, 2, ...
        window: Voxels (z, y, x) that it takes.
        device: "cpu", "cuda" or "cuda:N".
        settings: Those of the card, complete.
    """

    def __init__(
        self,
        module: AxonNetwork,
        *,
        labels: Sequence[Label],
        window: tuple[int, int, int],
        device: str,
        settings: Mapping[str, Any],
    ) -> None:
        layout = torch.channels_last_3d if torch.device(device).type == "cuda" else torch.contiguous_format
        self.module: AxonNetwork = module.eval().to(device, memory_format=layout)  # type: ignore[call-overload]
        self.labels = tuple(labels)
        self.window = window
        self.settings = dict(settings)

    @property
    def device(self) -> str:
        """Where the network is."""
        return str(next(self.module.parameters()).device)

    @property
    def plan(self) -> Plan:
        """Each cube by its own mean and deviation, at its own voxel size, as published."""
        return Plan(spacing=None, patch_size=self.window)

    def predict(self, batch: Sequence[Inputs], /) -> Iterator[LabelMap | OmlabError]:
        """The label map of each volume, on its grid, by a sliding window without mirroring."""
        return one_by_one(batch, lambda inputs: self.segment(omlab.take(inputs, "volume", Volume)))

    def segment(self, volume: Volume) -> LabelMap:
        """The label map of one volume. Raises `InputError` where it has several channels."""
        found = segment(
            self.scores,
            volume,
            plan=self.plan,
            labels=by_output(self.labels),
            classes=len(self.labels) + 1,
            channels=1,
            mirror=False,
            step=self.settings["step"],
            batch_size=self.settings["batch_size"],
            device=self.device,
        )
        return with_values(found, self.labels)

    def scores(self, image: Tensor) -> Tensor:
        """Scores (B, K, z, y, x) of windows, one for each class with the background."""
        logits: Tensor = self.module.eval()(image)
        # one logit is that of an axon against the background
        return logits if logits.shape[1] > 1 else torch.cat([torch.zeros_like(logits), logits], dim=1)

    def layers(self) -> list[list[str]]:
        """Parameter names from input to head."""
        return layers_of(self.module)

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> AxonModel:
        """A copy for the classes of the data and a window. Raises `TrainingError` and `SettingsError`."""
        labels, channels = labels_of(about), channels_of(about)
        window = window_of(settings["patch_size"]) if settings["patch_size"] else self.window
        classes = len(labels) + 1
        if isinstance(self.module, ResidualUNet) and len(labels) == 1 and self.module.n_classes == 1:
            classes = 1
        try:
            module = with_targets(self.module, classes=classes, channels=channels, volume=window, seed=seed)
        except ValueError as error:
            raise SettingsError(f"patch_size cannot be {list(window)}: {error}") from error
        return AxonModel(module, labels=labels, window=window, device=self.device, settings=self.settings)

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """Training on axon cubes and artefact cubes (`omlab_axonseg.training`)."""
        from omlab_axonseg.training import segmentation

        return segmentation(self, data, settings=settings, seed=seed)

    def config(self) -> dict[str, Any]:
        """Everything but the weights, as JSON."""
        return {
            "network": to_config(self.module),
            "labels": labels_to_json(self.labels),
            "window": list(self.window),
        }

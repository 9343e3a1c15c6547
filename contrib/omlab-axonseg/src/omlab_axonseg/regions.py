"""The region network as a model of omlab: a brain in, its regions out; trained for other regions.

session = omlab.load_model("brain-regions", weights="models/")       # epoch100_1.pth and epoch100_2.pth: both views
regions = session.predict(omlab.read("brain.nii.gz"))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

import omlab
from omlab.answers import one_by_one
from omlab.card_schema import ModelCard
from omlab.errors import InputError, OmlabError, SettingsError, TrainingError
from omlab.payloads import Inputs, Payload
from omlab.roles import About, Dataset
from omlab.weights import Weights, load_state_dict
from omlab_axonseg.region_network import (
    TINY,
    VIEWS,
    RegionConfig,
    RegionNet,
    config_of,
    from_config,
    to_config,
    untrained,
    with_view,
)
from omlab_axonseg.region_slices import as_atlas, decided, enlarged, from_atlas, probabilities
from omlab_payloads.sureness import Sureness
from omlab_volume.big.coarse import factor_for
from omlab_volume.big.payloads import BigLabelMap, BigVolume
from omlab_volume.inference.task import by_output, with_values
from omlab_volume.labels import default_colour, labels_from_json, labels_to_json, voxel_counts
from omlab_volume.training.targets import channels_of, labels_of
from omlab_volume.volume import Label, LabelMap, Volume

COARSE = 528
"""Voxels along an axis that a big volume is thinned out to: the Allen atlas of 25 um has as many, front to back."""
_SLAB = 16


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> RegionModel:
    """The entry of the cards `brain-regions*`. Raises `WeightsError` and `SettingsError`."""
    if config is not None:
        network = untrained(from_config(config["network"]))
        if weights is not None:
            weights.load(network)
        labels = labels_from_json(config["labels"], what="The configuration")
        return RegionModel(network, labels=labels, device=device, settings=settings)
    views = tuple(str(view) for view in settings["views"])
    try:
        base = RegionConfig(views=views, begin=settings["slices_from"], **(TINY if "-tiny" in card.name else {}))
    except ValueError as error:
        raise SettingsError(str(error)) from error
    network = untrained(base) if weights is None else _loaded(weights, base)
    labels = _named(settings["region_names"], count=network.config.num_classes)
    return RegionModel(network, labels=labels, device=device, settings=settings)


def _loaded(weights: Weights, base: RegionConfig) -> RegionNet:
    """The network of one file, or of a folder with a file for each view."""
    state: dict[str, Tensor] = {}
    for name in weights.files:
        known_by = weights.tag if weights.tag in VIEWS else name
        views = base.views if len(weights.files) == 1 else ()
        state |= with_view(weights.state_dict(name), name=known_by, views=views)
    source = str(weights.folder or next(iter(weights.files.values())))
    network = untrained(config_of(state, source=source, base=base))
    load_state_dict(network, state, source=source)
    return network


def _named(names: Sequence[Any], *, count: int) -> tuple[Label, ...]:
    """Labels 1, 2, ...; a file does not say which regions it knows. Raises `SettingsError` for too few or many."""
    if names and len(names) != count:
        raise SettingsError(f"region_names has {len(names)} names, but the network knows {count} regions.")
    found = [str(name) for name in names] or [f"region {n}" for n in range(1, count + 1)]
    return tuple(Label(value=n, name=name, colour=default_colour(n)) for n, name in enumerate(found, start=1))


class RegionModel:
    """A network with its labels: the verb `predict`, and the recipe `segmentation`.

    Args:
        module: The network.
        labels: Of its outputs, in order.
        device: "cpu", "cuda" or "cuda:N".
        settings: Those of the card, complete.
    """

    def __init__(self, module: RegionNet, *, labels: Sequence[Label], device: str, settings: Mapping[str, Any]) -> None:
        self.module = module.eval().to(device)
        self.labels, self.settings = tuple(labels), dict(settings)

    @property
    def device(self) -> str:
        """Where the network is."""
        return str(next(self.module.parameters()).device)

    def predict(self, batch: Sequence[Inputs], /) -> Iterator[LabelMap | BigLabelMap | OmlabError]:
        """The regions of each brain, on its grid; of a big volume every n-th voxel is looked at."""
        return one_by_one(batch, self._of_case)

    def _of_case(self, inputs: Inputs) -> LabelMap | BigLabelMap:
        volume: Payload = inputs["volume"]
        if isinstance(volume, BigVolume):
            factor = factor_for(volume.grid.shape, most=COARSE)
            return enlarged(self.segment(volume.coarse(most=COARSE)), volume, factor=factor)
        return self.segment(omlab.take(inputs, "volume", Volume))

    def segment(self, volume: Volume) -> LabelMap:
        """The regions of one volume, on its grid. Raises `InputError` for several channels, or voxels not finite."""
        if volume.channels != 1:
            raise InputError(f"{volume.name or 'The volume'} has {volume.channels} channels: the network takes one.")
        if not volume.is_finite():
            raise InputError(f"{volume.name or 'The volume'} has voxels that are not finite: repair it first.")
        begin = self.module.config.begin
        brain = as_atlas(volume.array[0], volume.grid, begin=begin)
        share = probabilities(self.module.eval(), brain, batch_size=self.settings["batch_size"], device=self.device)
        found = decided(share, least=self.settings["least_probability"])
        sureness = Sureness(len(share) + 1, softmax=False)
        for first in range(0, share.shape[1], _SLAB):
            part = torch.from_numpy(share[:, first : first + _SLAB])
            sureness.add_scores(torch.cat([1 - part.amax(0, keepdim=True), part]))
        counts = voxel_counts(found, least=len(share) + 1).tolist()
        names = {label.value: label.name for label in by_output(self.labels)}
        facts = sureness.facts(names, counts=counts, voxel_ml=volume.grid.voxel_ml)
        result = LabelMap(
            array=from_atlas(found, volume.grid, begin=begin),
            affine=volume.affine,
            labels=by_output(self.labels),
            source=volume.source,
            facts=facts,
        )
        return with_values(result, self.labels)

    def layers(self) -> list[list[str]]:
        """Parameter names from input to head, the views side by side."""
        parts: dict[str, list[str]] = {}
        for name, _ in self.module.named_parameters():
            parts.setdefault(name.split(".")[1], []).append(name)
        return list(parts.values())

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> RegionModel:
        """A copy for the regions of the data; its heads start anew. Raises `TrainingError`."""
        labels = labels_of(about)
        if channels_of(about) != 1:
            raise TrainingError(f"The data have {channels_of(about)} channels, but a region network takes one.")
        network = untrained(replace(self.module.config, num_classes=len(labels)), seed=seed)
        kept = {name: one for name, one in self.module.state_dict().items() if ".finalconv3." not in name}
        network.load_state_dict({**network.state_dict(), **kept})
        return RegionModel(network, labels=labels, device=self.device, settings=self.settings)

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """Training on labelled and unlabelled slices (`omlab_axonseg.region_training`)."""
        from omlab_axonseg.region_training import segmentation

        return segmentation(self, data, settings=settings, seed=seed)

    def config(self) -> dict[str, Any]:
        """Everything but the weights, as JSON."""
        return {"network": to_config(self.module.config), "labels": labels_to_json(self.labels)}

"""The model: from a volume to a label map on the same grid, or to a vector; and how it is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

import omlab
from omlab.card_schema import ModelCard
from omlab.errors import InputError, TrainingError
from omlab.payloads import Inputs
from omlab.roles import About, Dataset, Trainable
from omlab.session import Session
from omlab.weights import Weights
from omlab_medlsam.network import ThresholdNet
from omlab_medlsam.training import Segmentation, scaled
from omlab_payloads.embedding import Embedding
from omlab_volume.volume import Label, LabelMap, Volume

LABELS = (Label(value=1, name="foreground"),)

Prepared = tuple[Volume, Tensor]


class Medlsam:
    """Segments what is brighter than `threshold`; `module` is the network."""

    def __init__(self, module: ThresholdNet, *, labels: Sequence[Label], threshold: float, device: str) -> None:
        self.module = module.to(device).eval()
        self.labels = tuple(labels)
        self.threshold = threshold
        self.device = device

    def prepare(self, verb: str, inputs: Inputs, /) -> Prepared:
        """A volume of one channel, and what the network takes of it. Raises `InputError` for several channels."""
        volume = omlab.take(inputs, "volume", Volume)
        if volume.channels != 1:
            raise InputError(f"'medlsam' takes one channel, not {volume.channels}.")
        return volume, scaled(volume, threshold=self.threshold)

    def predict(self, batch: Sequence[Prepared], /) -> Iterator[LabelMap]:
        """The label maps of volumes."""
        for volume, image in batch:
            with torch.inference_mode():
                classes = self.module(image.to(self.device))[0].argmax(dim=0)
            array = classes.to(torch.uint8).cpu().numpy()
            yield LabelMap(array=array, affine=volume.affine, labels=self.labels, source=volume.source)

    def embed(self, batch: Sequence[Prepared], /) -> Iterator[Embedding]:
        """Mean and maximum of the network's features."""
        for _, image in batch:
            with torch.inference_mode():
                features = self.module.features(image.to(self.device))[0].flatten(1)
                vector = torch.cat([features.mean(dim=1), features.amax(dim=1)])
            yield Embedding(vector=vector.cpu().numpy(), model="medlsam")

    def layers(self) -> list[list[str]]:
        """Names of the parameters, from input to head: here there is but a head."""
        return [[f"scores.{name}" for name, _ in self.module.scores.named_parameters()]]

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> Trainable:
        """A copy with a score for each class of the data. Raises `TrainingError` where they have none."""
        labels = [Label(value=value, name=name) for value, name in sorted(about.classes.items()) if value]
        if not labels:
            raise TrainingError("The data set names no classes: there is nothing to learn.")
        module = ThresholdNet(classes=1 + max(label.value for label in labels))
        if module.scores.weight.shape == self.module.scores.weight.shape:
            module.load_state_dict(self.module.state_dict())
        return Medlsam(module, labels=labels, threshold=self.threshold, device=self.device)

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Segmentation:
        """What is minimised."""
        return Segmentation(self.module, data, threshold=self.threshold, settings=settings, seed=seed)

    def config(self) -> dict[str, Any]:
        """What it takes besides the weights to build this model again."""
        return {"labels": [[label.value, label.name] for label in self.labels]}


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Session],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> Medlsam:
    """Build the model of `card`; without `weights` it is untrained, a plain threshold."""
    labels = [Label(value=value, name=name) for value, name in config["labels"]] if config else LABELS
    module = ThresholdNet(classes=1 + max(label.value for label in labels))
    if weights is not None:
        weights.load(module)
    return Medlsam(module, labels=labels, threshold=settings["threshold"], device=device)

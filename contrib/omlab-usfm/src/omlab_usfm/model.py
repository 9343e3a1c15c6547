"""USFM as a model of omlab: an ultrasound image in, an embedding out; classes or label maps where it was trained.

session = omlab.load_model("usfm", weights="USFM_latest.pth")
vector = session.embed(omlab.read("frame.png"))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from omlab.card_schema import ModelCard
from omlab.errors import SettingsError, WeightsError
from omlab.payloads import Inputs
from omlab.roles import About, Dataset
from omlab.weights import Weights
from omlab_image import Image, LabelMap2D
from omlab_image.answers import classes_of, label_map_of, outputs_of
from omlab_image.model import ImageModel, Prepared, finite_image
from omlab_payloads.classes import Classes
from omlab_payloads.embedding import Embedding
from omlab_usfm.atm import resized
from omlab_usfm.encoder import EncoderConfig
from omlab_usfm.images import whole, whole_for_masks
from omlab_usfm.retarget import Plan, Task, retargeted
from omlab_usfm.segmentation import UperNet
from omlab_usfm.tables import Form
from omlab_usfm.weights import Network, config_of, encoder_of, layers_of, load_encoder

TINY = EncoderConfig(image_size=64, width=96, depth=4, heads=3, drop_path=0.0)


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> UsfmModel:
    """The entry of the cards.

    Raises:
        WeightsError: The file cannot be read, or holds another network; names the keys.
        SettingsError: `size` does not fit, or upstream's tables have gaps at it.
    """
    if config is not None:
        plan, task = Plan.from_config(config["plan"]), _task(config)
        network = plan.build()
        if weights is not None:
            weights.load(network)
    else:
        plan, task = Plan(encoder=TINY if card.name == "usfm-tiny" else EncoderConfig()), Task()
        state, source = (weights.state_dict(), weights.path()) if weights is not None else ({}, None)
        if source is not None:
            plan = Plan(encoder=config_of(state, source=source))
        plan = replace(plan, encoder=_sized(plan.encoder, settings["size"]))
        network = plan.build()
        if source is not None:
            load_encoder(network, state, source=source, form=settings["tables"])
    return UsfmModel(network, plan=plan, task=task, name=card.name, device=device, settings=settings)


def _sized(config: EncoderConfig, size: int) -> EncoderConfig:
    if size % config.patch_size:
        raise SettingsError(f"size is {size}, but must be a multiple of the patch, {config.patch_size} pixels.")
    return replace(config, image_size=size or config.image_size)


def _task(config: Mapping[str, Any]) -> Task:
    try:
        return Task.from_config(config["task"])
    except (KeyError, TypeError) as error:
        raise WeightsError(f"The configuration is not one of an adapted USFM ({error}).") from error


class UsfmModel(ImageModel[Network]):
    """A network with its task: verbs `embed` and, where it was trained, `predict` (`omlab.roles.Trainable`).

    Args:
        module: The network.
        plan: What it was built by.
        task: What it tells; empty for an encoder.
        name: Of the card.
        device: "cpu", "cuda" or "cuda:N".
        settings: Those of the card, complete.
    """

    task: Task

    def __init__(
        self, module: Network, *, plan: Plan, task: Task, name: str, device: str, settings: Mapping[str, Any]
    ) -> None:
        super().__init__(module, task=task, name=name, device=device, settings=settings)
        self.plan = plan

    @property
    def size(self) -> int:
        """Side of the square that images are squeezed into."""
        return self.plan.encoder.image_size

    def prepare(self, verb: str, inputs: Inputs, /) -> Prepared:
        """What the network sees of an image. Raises `InputError` where a pixel is no number."""
        image = finite_image(inputs)
        make = whole_for_masks if verb == "predict" and self.task.values else whole
        return Prepared(seen=make(self.size)(image), image=image)

    def embed(self, batch: Sequence[Prepared], /) -> Iterator[Embedding]:
        """The features of images: the normed mean of the encoder's patch tokens."""
        encoder = encoder_of(self.module)
        for vector in outputs_of(self.module, [one.seen for one in batch], by=encoder.features):
            yield Embedding(vector=vector.numpy(), model=self.name)

    def predict(self, batch: Sequence[Prepared], /) -> Iterator[Classes | LabelMap2D]:
        """The probability of each class, or the class of each pixel on the image's own grid."""
        for found, prepared in zip(outputs_of(self.module, [one.seen for one in batch]), batch, strict=True):
            yield self._labels(found, prepared.image) if self.task.values else self._classes(found)

    def _classes(self, logits: Tensor) -> Classes:
        return classes_of(logits, names=self.task.classes, threshold=self.task.threshold)

    def _labels(self, scores: Tensor, image: Image) -> LabelMap2D:
        """Of (K, S, S), logits of UPerNet and shares of SegViT: the best at each of the image's pixels."""
        return label_map_of(
            resized(scores[None], image.shape)[0],
            values=self.task.values,
            names=self.task.classes,
            image=image,
            softmax=isinstance(self.module, UperNet),
        )

    def layers(self) -> list[list[str]]:
        """Parameter names from input to head: embeddings; each block; norms, pyramid and heads."""
        return layers_of(self.module)

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> UsfmModel:
        """A copy for the classes that `about` tells of, or with a decoder (`omlab_usfm.retarget`)."""
        tables: Form = self.settings["tables"]
        network, plan, task = retargeted(
            self.module, recipe=recipe, about=about, settings=settings, tables=tables, seed=seed
        )
        return UsfmModel(network, plan=plan, task=task, name=self.name, device=self.device, settings=self.settings)

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """What is minimised (`omlab_usfm.training`)."""
        from omlab_usfm.training import RECIPES

        return RECIPES[recipe](self, data, settings=settings, seed=seed)

    def config(self) -> dict[str, Any]:
        """Everything but the weights, as JSON: architecture, head and classes."""
        return {"plan": self.plan.to_config(), "task": self.task.to_config()}

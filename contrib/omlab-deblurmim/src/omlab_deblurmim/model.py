"""Deblurring MIM as a model of omlab: an ultrasound image in, an embedding out; classes or masks where it was trained.

session = omlab.load_model("deblurmim-conv", weights="checkpoint-799.pth", settings={"blur": "gaussian"})
vector = session.embed(omlab.read("frame.png"))
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from torch import Tensor
from torch.nn import functional

from omlab.card_schema import ModelCard
from omlab.errors import SettingsError, WeightsError, WeightsWarning
from omlab.payloads import Inputs
from omlab.roles import About, Dataset
from omlab.weights import LOCAL, Weights
from omlab_deblurmim.autoencoder import DecoderConfig
from omlab_deblurmim.blur import Blur
from omlab_deblurmim.convvit import ConvConfig
from omlab_deblurmim.images import Blurred, whole, whole_for_masks
from omlab_deblurmim.losses import with_background
from omlab_deblurmim.retarget import PAINTING, Plan, Task, retargeted
from omlab_deblurmim.segmentation import CONV_EPS, Segmenter
from omlab_deblurmim.vit import VitConfig
from omlab_deblurmim.weights import (
    Network,
    config_of,
    decoder_config_of,
    encoder_of,
    layers_of,
    load_autoencoder,
    load_encoder,
    load_segmenter,
    state_of_segmenter,
)
from omlab_image import Image, LabelMap2D
from omlab_image.answers import classes_of, label_map_of, outputs_of
from omlab_image.model import ImageModel, Prepared, finite_image
from omlab_payloads.classes import Classes
from omlab_payloads.embedding import Embedding

NODULES = "deblurmim-nodules"
TINY_DECODER = DecoderConfig(width=32, depth=1, heads=2)
PLANS: dict[str, Plan] = {
    "deblurmim": Plan(kind="autoencoder", encoder=VitConfig(), decoder=DecoderConfig()),
    "deblurmim-conv": Plan(kind="autoencoder", encoder=ConvConfig(), decoder=DecoderConfig()),
    "deblurmim-tiny": Plan(
        kind="autoencoder",
        encoder=VitConfig(image_size=64, width=64, depth=4, heads=2),
        decoder=TINY_DECODER,
    ),
    "deblurmim-conv-tiny": Plan(
        kind="autoencoder",
        encoder=ConvConfig(image_size=64, widths=(16, 32, 64), depths=(1, 1, 2), heads=2),
        decoder=TINY_DECODER,
    ),
}
"""The network of each card of an encoder."""
NODULE_PLAN = Plan(kind="segmenter", encoder=ConvConfig(image_size=512, eps=CONV_EPS), outputs=1)
NODULE_TASK = Task(classes=("nodule",), values=(1,))
SHARP_WEIGHTS = "masked"
"""Tag of published weights that were pre-trained on images as they are."""


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> DeblurMimModel:
    """The entry of the cards.

    Raises:
        WeightsError: The file cannot be read, or holds another network; names the keys, or the model that takes it.
        SettingsError: `size` does not fit.
    """
    if config is not None:
        plan, task, blur = Plan.from_config(config["plan"]), _task(config), _blur_from(config)
        network = plan.build()
        if weights is not None:
            weights.load(network)
        return DeblurMimModel(network, plan=plan, task=task, blur=blur, name=card.name, device=device)
    if card.name == NODULES:
        return _nodules(card, weights, settings, device=device)
    plan, blur = PLANS[card.name], _blur(settings, weights)
    state, source = (weights.state_dict(), weights.path()) if weights is not None else ({}, None)
    if source is not None:
        plan = _plan_of(state, source=source)
        if isinstance(plan.encoder, ConvConfig) != isinstance(PLANS[card.name].encoder, ConvConfig):
            found, other = ("a plain", "deblurmim") if "cls_token" in state else ("ConvMAE's", "deblurmim-conv")
            raise WeightsError(f"{source} holds {found} encoder: load it as {other}.")
    size = settings["size"]
    if size % (stride := plan.encoder.stride if isinstance(plan.encoder, ConvConfig) else plan.encoder.patch_size):
        raise SettingsError(f"size is {size}, but must be a multiple of the patch, {stride} pixels.")
    is_resized = bool(size) and size != plan.encoder.image_size
    if is_resized:
        plan = replace(plan, encoder=replace(plan.encoder, image_size=size))
    network = plan.build()
    if source is not None:
        (load_encoder if is_resized or plan.decoder is None else load_autoencoder)(network, state, source=source)
    return DeblurMimModel(network, plan=plan, task=Task(), blur=blur, name=card.name, device=device)


def _nodules(card: ModelCard, weights: Weights | None, settings: Mapping[str, Any], *, device: str) -> DeblurMimModel:
    """The published segmentation network, whose file is the whole network, pickled; or a state dict of it."""
    network = NODULE_PLAN.build()
    assert isinstance(network, Segmenter)
    if weights is not None:
        load_segmenter(network, state_of_segmenter(weights), source=weights.path())
    blur = _blur(settings, weights)
    return DeblurMimModel(network, plan=NODULE_PLAN, task=NODULE_TASK, blur=blur, name=card.name, device=device)


def _plan_of(state: Mapping[str, Tensor], *, source: Any) -> Plan:
    encoder = config_of(state, source=source)
    decoder = decoder_config_of(state)
    return Plan(kind="encoder" if decoder is None else "autoencoder", encoder=encoder, decoder=decoder)


def _task(config: Mapping[str, Any]) -> Task:
    try:
        return Task.from_config(config["task"])
    except (KeyError, TypeError) as error:
        raise WeightsError(f"The configuration is not one of an adapted deblurring MIM ({error}).") from error


def _blur_from(config: Mapping[str, Any]) -> Blur | None:
    return None if config["blur"] is None else Blur(**config["blur"])


def _blur(settings: Mapping[str, Any], weights: Weights | None) -> Blur | None:
    """How images are blurred before the network sees them; None: not at all."""
    method = settings["blur"]
    if method == "none":
        return None
    if method != "published":
        return Blur(method=method, sigma=settings["sigma"])
    if weights is not None and weights.tag == SHARP_WEIGHTS:
        return None
    if weights is not None and weights.tag == LOCAL:
        warnings.warn(
            f"{weights.path()} does not say whether its network expects blurred images: they are blurred; set "
            "blur=none where it was pre-trained on sharp ones, or where yours are blurred already.",
            WeightsWarning,
            stacklevel=2,
        )
    return Blur(sigma=settings["sigma"])


class DeblurMimModel(ImageModel[Network]):
    """A network with its task: verbs `embed` and, where it was trained, `predict` (`omlab.roles.Trainable`).

    Args:
        module: The network.
        plan: What it was built by.
        task: What it tells; empty for an encoder.
        blur: How images are blurred before the network sees them; None: not at all.
        name: Of the card.
        device: "cpu", "cuda" or "cuda:N".
    """

    task: Task

    def __init__(self, module: Network, *, plan: Plan, task: Task, blur: Blur | None, name: str, device: str) -> None:
        super().__init__(module, task=task, name=name, device=device)
        self.plan, self.blur = plan, blur

    @property
    def size(self) -> int:
        """Side of the square that the network sees."""
        return self.plan.encoder.image_size

    @property
    def before(self) -> Blurred:
        """What is done with every image first."""
        return Blurred(blur=self.blur)

    def prepare(self, verb: str, inputs: Inputs, /) -> Prepared:
        """What the network sees of an image. Raises `InputError` where a pixel is no number."""
        image = finite_image(inputs)
        make = whole_for_masks if verb == "predict" and self.task.values else whole
        return Prepared(seen=make(self.size)(self.before(image)), image=image)

    def embed(self, batch: Sequence[Prepared], /) -> Iterator[Embedding]:
        """The features of images, the normed mean of the patch tokens; their maker is named with the blur."""
        maker = f"{self.name} ({'sharp' if self.blur is None else self.blur.method})"
        for vector in outputs_of(self.module, [one.seen for one in batch], by=encoder_of(self.module).features):
            yield Embedding(vector=vector.numpy(), model=maker)

    def predict(self, batch: Sequence[Prepared], /) -> Iterator[Classes | LabelMap2D]:
        """The probability of each class, or the class of each pixel on the image's own grid."""
        for found, prepared in zip(outputs_of(self.module, [one.seen for one in batch]), batch, strict=True):
            yield self._labels(found, prepared.image) if self.task.values else self._classes(found)

    def _classes(self, logits: Tensor) -> Classes:
        return classes_of(logits, names=self.task.classes, threshold=self.task.threshold)

    def _labels(self, logits: Tensor, image: Image) -> LabelMap2D:
        """Of (K, S / 2, S / 2): the best at each of the image's pixels, or none where each is less than a half."""
        scores = functional.interpolate(
            with_background(logits[None]), size=image.shape, mode="bilinear", align_corners=False
        )
        return label_map_of(scores[0], values=self.task.values, names=self.task.classes, image=image, softmax=True)

    def layers(self) -> list[list[str]]:
        """Parameter names from input to head: embeddings with convolutional stages; each block; norms and heads."""
        return layers_of(self.module)

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> DeblurMimModel:
        """A copy for the classes that `about` tells of, or with a decoder (`omlab_deblurmim.retarget`)."""
        network, plan, task = retargeted(self.module, recipe=recipe, about=about, settings=settings, seed=seed)
        blur = self.blur
        if recipe in PAINTING:
            blur = Blur(method=settings["blur"], sigma=settings["sigma"]) if recipe == "deblurring" else None
        return DeblurMimModel(network, plan=plan, task=task, blur=blur, name=self.name, device=self.device)

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """What is minimised (`omlab_deblurmim.training`)."""
        from omlab_deblurmim.training import RECIPES

        return RECIPES[recipe](self, data, settings=settings, seed=seed)

    def config(self) -> dict[str, Any]:
        """Everything but the weights, as JSON: architecture, classes, blur."""
        return {
            "plan": self.plan.to_config(),
            "task": self.task.to_config(),
            "blur": None if self.blur is None else asdict(self.blur),
        }

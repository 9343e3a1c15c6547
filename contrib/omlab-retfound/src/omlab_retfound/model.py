"""RETFound as a model of omlab: an image in, an embedding out; classes where it was fine-tuned.

session = omlab.load_model("retfound-mae.cfp")
vector = session.embed(omlab.read("photo.jpg"))
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from torch import Tensor

from omlab.card_schema import ModelCard
from omlab.errors import SettingsError, WeightsError, WeightsWarning
from omlab.payloads import Inputs
from omlab.roles import About, Dataset
from omlab.weights import Weights
from omlab_image import Image
from omlab_image.answers import Task, outputs_of
from omlab_image.model import ImageModel, finite_image
from omlab_image.transforms import fundus_crop
from omlab_payloads.embedding import Embedding
from omlab_retfound.images import transform
from omlab_retfound.mae import DecoderConfig, MaskedAutoencoder, allocate_autoencoder, untrained_autoencoder
from omlab_retfound.retarget import Network, retargeted
from omlab_retfound.vit import PUBLISHED, Form, HeadNorm, VitConfig, allocate, layers_of, untrained
from omlab_retfound.weights import Found, check_form, pooled, recognise, resized

TINY = VitConfig(size=64, patch=8, width=128, depth=3, heads=2)
TINY_DECODER = DecoderConfig(width=64, depth=1, heads=2)
CLASSIFIER = "retfound-classifier"
_FORMS: dict[str, Form] = {
    "retfound-mae": "mae",
    "retfound-dinov2": "dinov2",
    "retfound-green": "green",
    "retfound-tiny": "mae",
}
_CLASSES = 5  # of a classifier without a file, unless they are named: the grades of diabetic retinopathy


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> RetFoundModel:
    """The entry of the cards.

    Raises:
        WeightsError: The file cannot be read, or holds another network; names the keys, or the model that takes it.
        SettingsError: `size`, `pool` or `classes` do not fit the network.
    """
    if config is not None:
        network, task = _from_config(config)
        if weights is not None:
            weights.load(network)
    elif weights is not None:
        network, task = _from_file(card, weights, settings)
    else:
        network, task = _untrained(card, settings)
    return RetFoundModel(network, task=task, name=card.name, device=device, settings=settings)


class RetFoundModel(ImageModel[Network]):
    """Verbs `embed`, `explain`, of classifiers `predict`; recipes (`omlab.roles.Trainable`)."""

    @property
    def normalisation(self) -> str:
        """How pixels become what the network sees: `evaluation` or `standardised`; Green has the first alone."""
        return str(self.settings.get("normalisation", "evaluation"))

    def prepare(self, verb: str, inputs: Inputs, /, **options: Any) -> Tensor:
        """What the network sees of an image, [3, S, S]. Raises `InputError` where a pixel is no number."""
        image = finite_image(inputs)
        if self.settings["crop"] == "fundus":
            image = fundus_crop(image)
        config = self.module.config
        return transform(config.form, size=config.size, normalisation=self.normalisation)(image)

    def embed(self, batch: Sequence[Tensor], /) -> Iterator[Embedding]:
        """The features of images; those of different normalisations cannot be compared, so their maker is named so."""
        maker = f"{self.name} ({self.normalisation})"
        for vector in outputs_of(self.module, batch, by=self.module.features):
            yield Embedding(vector=vector.numpy(), model=maker)

    def explain(self, batch: Sequence[Tensor], /, *, form: str) -> Iterator[Image]:
        """Where the network looks (`omlab_retfound.attention`), on what it sees of each image."""
        from omlab_retfound.attention import drawn_over, heat, rollout

        for seen, patches in zip(batch, outputs_of(self.module, batch, by=partial(rollout, self.module)), strict=True):
            hot = heat(patches, size=self.module.config.size)
            yield Image(array=hot if form == "map" else drawn_over(seen, hot))

    def layers(self) -> list[list[str]]:
        """Parameter names from input to head: tokens, positions and patches; each block; norms, decoder and head."""
        return layers_of(self.module, depth=self.module.config.depth)

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> RetFoundModel:
        """A copy with a head for the classes that `about` tells of, or with a decoder (`omlab_retfound.retarget`)."""
        module, task = retargeted(self.module, recipe=recipe, about=about, settings=settings, seed=seed)
        return RetFoundModel(module, task=task, name=self.name, device=self.device, settings=self.settings)

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """Fine-tuning as upstream's, or masked autoencoding (`omlab_retfound.training`)."""
        from omlab_retfound.training import classification, masked

        make = classification if recipe == "classification" else masked
        return make(self, data, settings=settings, seed=seed)

    def config(self) -> dict[str, Any]:
        """Everything but the weights, as JSON: architecture and classes."""
        decoder = self.module.decoder if isinstance(self.module, MaskedAutoencoder) else None
        return {
            "network": asdict(self.module.config),
            "decoder": asdict(decoder) if decoder is not None else None,
            "task": self.task.to_config(),
        }


def _from_file(card: ModelCard, weights: Weights, settings: Mapping[str, Any]) -> tuple[Network, Task]:
    """The network that a file holds, by its keys, as the card and settings want it."""
    source = weights.path()
    found = recognise(weights.state_dict(), source=source)
    if card.name == CLASSIFIER:
        found, task = _classifier(found, settings, source=str(source))
    else:
        check_form(found, form=_FORMS[card.name], source=source)
        found, task = pooled(found, pool=_pool(found.config, settings), head_norm="single"), Task()
    if settings["size"]:
        found = resized(found, size=settings["size"])
    network = found.allocate()
    weights.load(network, state=found.state)
    return network, task


def _classifier(found: Found, settings: Mapping[str, Any], *, source: str) -> tuple[Found, Task]:
    count, names = found.config.classes, _names(settings)
    if not count:
        raise WeightsError(
            f"{source} holds {found}, which was not fine-tuned: load it as retfound-{found.config.form} and adapt it."
        )
    if names and len(names) != count:
        raise SettingsError(f"{source} tells {count} classes, but the setting 'classes' names {len(names)}.")
    found = pooled(found, pool="avg", head_norm=_head_norm(settings))
    if settings["head_norm"] == "unknown" and found.config.norms_the_mean:
        warnings.warn(
            f"{source} does not tell how often its head norms: once is taken; where it was fine-tuned with upstream's "
            "code since February 2025, set head_norm=double.",
            WeightsWarning,
            stacklevel=2,
        )
    return found, Task(classes=names or _numbered(count))


def _untrained(card: ModelCard, settings: Mapping[str, Any]) -> tuple[Network, Task]:
    if card.name == CLASSIFIER:
        names = _names(settings) or _numbered(_CLASSES)
        config = replace(PUBLISHED["mae"], classes=len(names), head_norm=_head_norm(settings))
        return untrained(_sized(config, settings)), Task(classes=names)
    form, is_tiny = _FORMS[card.name], card.name == "retfound-tiny"
    config = _sized(TINY if is_tiny else PUBLISHED[form], settings)
    config = replace(config, pool=_pool(config, settings))
    if form != "mae":
        return untrained(config), Task()
    return untrained_autoencoder(config, decoder=TINY_DECODER if is_tiny else DecoderConfig()), Task()


def _sized(config: VitConfig, settings: Mapping[str, Any]) -> VitConfig:
    size = settings["size"] or config.size
    if size % config.patch:
        raise SettingsError(f"size is {size}, but must be a multiple of the patch, {config.patch} pixels.")
    return replace(config, size=size)


def _head_norm(settings: Mapping[str, Any]) -> HeadNorm:
    return "double" if settings["head_norm"] == "double" else "single"


def _pool(config: VitConfig, settings: Mapping[str, Any]) -> Any:
    return config.pool if settings["pool"] == "published" else settings["pool"]


def _names(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The classes that the settings name. Raises `SettingsError` where one is named twice."""
    names = tuple(str(name) for name in settings["classes"])
    if len(set(names)) != len(names):
        raise SettingsError(f"The setting 'classes' names one twice: {', '.join(names)}.")
    return names


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"class {number}" for number in range(count))


def _from_config(config: Mapping[str, Any]) -> tuple[Network, Task]:
    try:
        network, task = (
            VitConfig(**config["network"]),
            Task.from_config(config["task"]),
        )
        decoder = DecoderConfig(**config["decoder"]) if config["decoder"] is not None else None
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"The configuration is not one of an adapted RETFound ({type(error).__name__}: {error})."
        ) from error
    made = allocate(network) if decoder is None else allocate_autoencoder(network, decoder=decoder)
    return made, task

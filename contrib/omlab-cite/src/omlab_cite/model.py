"""CITE as a model of omlab: a patch in, an embedding out, or classes by how alike it is to the text of each.

session = omlab.load_model("cite-clip", settings={"classes": ["tumour=colorectal cancer", "normal=normal mucosa"]})
session.predict(omlab.read("patch.png"))
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omlab.card_schema import ModelCard
from omlab.errors import SettingsError, WeightsError
from omlab.payloads import Inputs
from omlab.roles import About, Dataset
from omlab.weights import Weights
from omlab_cite.images import PUBLISHED_SATURATION, Augmentation, colours, plain
from omlab_cite.network import TEMPERATURE, Cite, near_identity
from omlab_cite.texts import CONFIG, Drawn, Pooling, TextEncoder, encoder_of, read_encoder, texts_of
from omlab_cite.vit import PromptConfig, PromptedVit, VitConfig, layers_of
from omlab_cite.weights import recognise
from omlab_image.answers import Task, class_names, classes_of, outputs_of
from omlab_image.model import ImageModel, finite_image
from omlab_payloads.classes import Classes
from omlab_payloads.embedding import Embedding
from omlab_train.settings import mixed_seed

IMAGE_FILES = ("clip-vit-base-patch16.bin", "pytorch_model.bin")
"""What the tower's file is called beside others: the first where the second is a text encoder's by itself."""
HEAD = ("backbone.prompt", "neck.")

Encoder = Callable[[Pooling], TextEncoder]
"""From what stands for a text to the encoder; it is read when it is needed."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """A card's network without weights.

    Attributes:
        vit: The tower.
        text_width: Features of a text.
        is_classifier: Whether it has prompts and a projection, as upstream's code saves it.
    """

    vit: VitConfig
    text_width: int
    is_classifier: bool = False


_TINY = VitConfig(size=32, patch=8, width=64, depth=2, embed=32)
FORMS = {
    "cite": Form(vit=VitConfig(), text_width=1024),
    "cite-clip": Form(vit=VitConfig(), text_width=512),
    "cite-classifier": Form(vit=VitConfig(), text_width=1024, is_classifier=True),
    "cite-tiny": Form(vit=_TINY, text_width=48),
    "cite-clip-tiny": Form(vit=_TINY, text_width=32),
}


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> CiteModel:
    """The entry of the cards.

    Raises:
        WeightsError: The file cannot be read, or holds another network.
    """
    form = FORMS[card.name.removesuffix("-slide")]
    classes: tuple[str, ...] = ()
    encoder: Encoder | None = None
    drawn: Encoder = lambda _: Drawn(width=form.text_width)  # noqa: E731
    if config is not None:
        module, classes = _from_config(config)
        encoder = drawn if config["drawn"] else None
        if weights is not None:
            weights.load(module)
    elif weights is not None:
        module = _from_file(form, weights, settings)
        files = {name: path for name, path in weights.files.items() if name != IMAGE_FILES[0]}
        if CONFIG in files:
            encoder = lambda pooling: encoder_of(files, source=f"'{weights.tag}'", pooling=pooling)  # noqa: E731
    else:
        module, encoder = _untrained(form), drawn
    return CiteModel(module, classes=classes, encoder=encoder, name=card.name, device=device, settings=settings)


class CiteModel(ImageModel[Cite]):
    """A network with the texts of its classes: verbs `embed` and `predict`, a recipe (`omlab.roles.Trainable`).

    Args:
        module: The network.
        classes: Names of what it tells, where it has their texts.
        encoder: The text encoder of its weights; None: they have none.
        name: Of the card.
        device: "cpu", "cuda" or "cuda:N".
        settings: Those of the card, complete.
    """

    def __init__(
        self,
        module: Cite,
        *,
        classes: Sequence[str],
        encoder: Encoder | None,
        name: str,
        device: str,
        settings: Mapping[str, Any],
    ) -> None:
        super().__init__(module, task=Task(classes=tuple(classes)), name=name, device=device, settings=settings)
        self._encoder = encoder

    @property
    def size(self) -> int:
        """Pixels of a side that the network sees."""
        return self.module.backbone.config.size

    def prepare(self, verb: str, inputs: Inputs, /, *, augment: bool = False, seed: int = 0) -> Tensor:
        """What the network sees of an image, [3, S, S]; with `augment` changed by chance, as upstream tests."""
        image = finite_image(inputs)
        if not augment:
            return plain(self.size, normalisation=self.settings["normalisation"])(image)
        mean, std = colours(self.settings["normalisation"])
        change = Augmentation(size=self.size, saturation=PUBLISHED_SATURATION, mean=mean, std=std)
        return change(image, mixed_seed(seed, int(image.digest[:16], 16)))

    def embed(self, batch: Sequence[Tensor], /, *, augment: bool = False, seed: int = 0) -> Iterator[Embedding]:
        """The tower's features, before the projection to texts."""
        for vector in outputs_of(self.module, batch, by=self.module.backbone):
            yield Embedding(vector=vector.numpy(), model=self.name)

    def predict(self, batch: Sequence[Tensor], /, *, augment: bool = False, seed: int = 0) -> Iterator[Classes]:
        """The probability of each class. Raises `SettingsError` where a text cannot be encoded."""
        names, text = (self.task.classes, self.module.text) if self.module.text is not None else self._told
        for logits in outputs_of(self.module, batch, by=partial(self.module.logits, text=text)):
            yield classes_of(logits, names=names, threshold=None)

    def layers(self) -> list[list[str]]:
        """Parameter names from input to head: embeddings, each block, what is behind them, prompts with projection."""
        names = [name for name, _ in self.module.named_parameters()]
        return layers_of(names, depth=self.module.backbone.config.depth, head=HEAD)

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> CiteModel:
        """A copy with prompts and a projection for the classes that `about` tells of, and with their texts.

        Prompts and a projection that it has are kept where they are of the form asked for.

        Raises:
            TrainingError: There are fewer than two classes.
            SettingsError: A class has no text, the text encoder is not there, or no such prompts can be.
        """
        names = class_names(about)
        said = _texts_for(names, texts_of(settings["texts"]))
        text = self._text_encoder(settings["text"], settings["pooling"])(said)
        before = self.module
        backbone = _prompted(before.backbone, settings=settings, seed=seed)
        width = text.shape[1] if settings["projection"] else None
        module = Cite(backbone, text_width=None, temperature=before.temperature)
        if width is not None:
            module.text_width = width
            has_same = before.text_width == width
            module.neck = copy.deepcopy(before.neck) if has_same else near_identity(backbone.width, width, seed=seed)
        module.take_texts(text)
        return CiteModel(
            module,
            classes=names,
            encoder=self._encoder,
            name=self.name,
            device=self.device,
            settings=self.settings,
        )

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """The training of CITE (`omlab_cite.training`)."""
        from omlab_cite.training import classification

        return classification(self, data, settings=settings, seed=seed)

    def config(self) -> dict[str, Any]:
        """Everything but the weights, as JSON; the texts' vectors are among the weights."""
        backbone = self.module.backbone
        return {
            "vit": asdict(backbone.config),
            "prompts": None if backbone.prompts is None else asdict(backbone.prompts),
            "starts": backbone.prompt_started is not None,
            "text_width": self.module.text_width,
            "temperature": self.module.temperature,
            "classes": list(self.task.classes),
            "drawn": self._encoder is not None and isinstance(self._encoder("pooled"), Drawn),
        }

    @cached_property
    def _told(self) -> tuple[tuple[str, ...], Tensor]:
        """The classes of the settings and their texts. Raises `SettingsError`."""
        said = texts_of(self.settings["classes"])
        encoder = self._text_encoder(self.settings["text"], self.settings["pooling"])
        return tuple(said), self.module.fitting(encoder(list(said.values())))

    def _text_encoder(self, folder: str, pooling: Pooling) -> TextEncoder:
        if folder:
            return read_encoder(Path(folder).expanduser(), pooling=pooling)
        if self._encoder is None:
            raise SettingsError(
                f"These weights of '{self.name}' have no text encoder: name a folder of one with text=FOLDER."
            )
        return self._encoder(pooling)


def _texts_for(names: Sequence[str], said: Mapping[str, str]) -> list[str]:
    """The text of each class: as said, and where nothing is said of any, its name."""
    if not said:
        return list(names)
    for name in names:
        if name not in said:
            raise SettingsError(f"The class '{name}' of the data has no text: add {name}=TEXT to texts.")
    stray = next((name for name in said if name not in names), None)
    if stray is not None:
        raise SettingsError(f"texts names '{stray}', which is none of the data's classes: {', '.join(names)}.")
    return [said[name] for name in names]


def _prompted(before: PromptedVit, *, settings: Mapping[str, Any], seed: int) -> PromptedVit:
    """A copy of a tower with the prompts that settings want."""
    backbone = copy.deepcopy(before)
    wanted = None
    if settings["length"]:
        wanted = PromptConfig(
            length=settings["length"],
            mode=settings["mode"],
            layers=backbone.config.depth if settings["depth"] == "deep" else 1,
            init=settings["init"],
        )
    if wanted == backbone.prompts:
        return backbone
    fresh = PromptedVit(backbone.config, prompts=wanted, projected=backbone.projected, seed=seed)
    fresh.model = backbone.model
    if wanted is not None and wanted.init == "token":
        fresh.start_with_first_batch()
    return fresh


def _untrained(form: Form) -> Cite:
    if not form.is_classifier:
        return Cite(PromptedVit(form.vit), text_width=None)
    return Cite(PromptedVit(form.vit, prompts=PromptConfig(init="normal")), text_width=form.text_width)


def _from_file(form: Form, weights: Weights, settings: Mapping[str, Any]) -> Cite:
    """The network that a file holds, by its keys."""
    name = next((name for name in IMAGE_FILES if name in weights.files), None)
    source = weights.path(name)
    found = recognise(weights.state_dict(name), source=source)
    if form.is_classifier and (found.text_width is None or found.prompt is None):
        raise WeightsError(
            f"{source} holds an image tower without a prompt and a projection: load it as cite, and adapt it."
        )
    if not form.is_classifier and (found.text_width is not None or found.prompt is not None):
        raise WeightsError(f"{source} holds a tower with a prompt or a projection: load it as cite-classifier.")
    prompts = None
    if found.prompt is not None:
        layers, length = found.prompt
        prompts = PromptConfig(length=length, layers=layers, mode=settings["mode"], init="normal")
    module = Cite(
        PromptedVit(found.config, prompts=prompts),
        text_width=found.text_width,
        temperature=TEMPERATURE if found.temperature is None else found.temperature,
    )
    weights.load(module, name, state=found.state)
    return module


def _from_config(config: Mapping[str, Any]) -> tuple[Cite, tuple[str, ...]]:
    try:
        prompts = None if config["prompts"] is None else PromptConfig(**config["prompts"])
        backbone = PromptedVit(VitConfig(**config["vit"]), prompts=prompts)
        module = Cite(backbone, text_width=config["text_width"], temperature=config["temperature"])
        classes = tuple(config["classes"])
        if config["starts"]:
            backbone.start_with_first_batch()
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"The configuration is not one of an adapted CITE ({type(error).__name__}: {error})."
        ) from error
    if classes:
        module.take_texts(torch.zeros(len(classes), module.text_width or backbone.width))
    return module, classes

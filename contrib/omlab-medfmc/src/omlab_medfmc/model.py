"""The backbones of MedFMC's baselines as models of omlab: an image in, an embedding out; classes once adapted.

session = omlab.load_model("medfmc-vit")
vector = session.embed(omlab.read("radiograph.png"))
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from omlab.card_schema import ModelCard
from omlab.errors import SettingsError, WeightsError
from omlab.payloads import Inputs
from omlab.roles import About, Dataset
from omlab.weights import Weights
from omlab_image.answers import Task, outputs_of
from omlab_image.model import ImageModel, finite_image
from omlab_image.transforms import IMAGENET_MEAN, IMAGENET_STD, Evaluation, evaluation
from omlab_medfmc.parts import Classifier, Head
from omlab_medfmc.swin import Swin, SwinConfig
from omlab_medfmc.vit import Vit, VitConfig
from omlab_payloads.embedding import Embedding

POSITIONS = "backbone.pos_embed"
HALF = (0.5, 0.5, 0.5)


BACKBONES: dict[str, VitConfig | SwinConfig] = {
    "medfmc-vit": VitConfig(),
    "medfmc-swin": SwinConfig(),
    "medfmc-vit-tiny": VitConfig(image_size=32, patch=8, width=32, depth=2, heads=2, hidden=64),
    "medfmc-swin-tiny": SwinConfig(width=16, depths=(2, 2), heads=(2, 2), window=4),
}


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> MedfmcModel:
    """The entry of the cards.

    Raises:
        WeightsError: The file cannot be read, or holds another network; names the keys.
        SettingsError: `size` does not fit the network.
    """
    task, form = (Task(), BACKBONES[card.name]) if config is None else _from_config(config)
    state = None if weights is None else weights.state_dict()
    if config is None and state is not None:
        form = _as_positioned(form, state)
    module = untrained(form, classes=len(task.classes) or None)
    if weights is not None:
        weights.load(module, state=state)
    return MedfmcModel(module, task=task, name=card.name, device=device, settings=settings)


def untrained(form: VitConfig | SwinConfig, *, classes: int | None = None) -> Classifier:
    """The network, drawn anew."""
    if isinstance(form, VitConfig):
        return Classifier(Vit(form), width=form.width, classes=classes)
    return Classifier(Swin(form), width=form.width * 2 ** (len(form.depths) - 1), classes=classes)


class MedfmcModel(ImageModel[Classifier]):
    """A network with its task: verbs `embed` and, of classifiers, `predict`; a recipe (`omlab.roles.Trainable`).

    Args:
        module: The network.
        task: What it tells; empty for an encoder.
        name: Of the card.
        device: "cpu", "cuda" or "cuda:N".
        settings: Those of the card, complete.
    """

    def __init__(self, module: Classifier, *, task: Task, name: str, device: str, settings: Mapping[str, Any]) -> None:
        super().__init__(module, task=task, name=name, device=device, settings=settings)
        _check_size(module, self.settings["size"])

    @property
    def transform(self) -> Evaluation:
        """As upstream: the image resized to a square, whatever its ratio, and ImageNet's colours or -1 to 1."""
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if self.settings["colours"] == "imagenet" else (HALF, HALF)
        return evaluation(self.settings["size"], crop=1.0, aspect="ignore", mean=mean, std=std)

    def prepare(self, verb: str, inputs: Inputs, /) -> Tensor:
        """What the network sees of an image, [3, S, S]."""
        return self.transform(finite_image(inputs))

    def embed(self, batch: Sequence[Tensor], /) -> Iterator[Embedding]:
        """The backbone's features."""
        for vector in outputs_of(self.module, batch, by=self.module.backbone):
            yield Embedding(vector=vector.numpy(), model=self.name)

    def layers(self) -> list[list[str]]:
        """Parameter names from input to head: embeddings, each layer or block, norm, head."""
        found: dict[str, list[str]] = {}
        for name, _ in self.module.named_parameters():
            found.setdefault(_layer_of(name), []).append(name)
        first, last = found.pop("input"), found.pop("head", [])
        return [first, *(found[place] for place in sorted(found, key=_order)), *([last] if last else [])]

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> MedfmcModel:
        """A copy with a new head for the classes that `about` tells of. Raises `TrainingError` for too few."""
        task = Task.of(about, multi_label=settings["multi_label"])
        module = copy.deepcopy(self.module)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module.head = Head(module.width, classes=len(task.classes)).to(self.device)
        return MedfmcModel(module, task=task, name=self.name, device=self.device, settings=self.settings)

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """The training of upstream's baselines (`omlab_medfmc.training`)."""
        from omlab_medfmc.training import classification

        return classification(self, data, settings=settings, seed=seed)

    def config(self) -> dict[str, Any]:
        """Everything but the weights, as JSON: form and classes."""
        form = self.module.backbone.config
        assert isinstance(form, VitConfig | SwinConfig)
        return {
            "network": "vit" if isinstance(form, VitConfig) else "swin",
            "form": asdict(form),
            **self.task.to_config(),
        }


def _as_positioned(form: VitConfig | SwinConfig, state: Mapping[str, Tensor]) -> VitConfig | SwinConfig:
    """The form with positions for images of the size that a file's are for."""
    positions = state.get(POSITIONS)
    if positions is None or not isinstance(form, VitConfig) or positions.ndim != 3:
        return form
    return replace(form, image_size=math.isqrt(positions.shape[1] - 1) * form.patch)


def _layer_of(name: str) -> str:
    parts = name.split(".")
    if parts[0] == "head":
        return "head"
    if parts[1] == "layers":
        return f"1.{parts[2]}.0"
    if parts[1] == "stages":
        return f"1.{parts[2]}.{parts[4] if parts[3] == 'blocks' else 999}"
    return "2.0.0" if parts[1].startswith(("ln", "norm")) else "input"


def _order(place: str) -> tuple[int, ...]:
    return tuple(int(part) for part in place.split("."))


def _check_size(module: Classifier, size: int) -> None:
    """Every map of a Swin Transformer must hold a window. Raises `SettingsError`."""
    form = module.backbone.config
    if isinstance(form, SwinConfig):
        least = (form.window - 1) * form.patch * 2 ** (len(form.depths) - 1) + 1
        if size < least:
            raise SettingsError(f"size is {size}, but this network needs at least {least} pixels of a side.")


def _from_config(config: Mapping[str, Any]) -> tuple[Task, VitConfig | SwinConfig]:
    try:
        task = Task.from_config(config)
        form: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in config["form"].items()
        }
        return task, VitConfig(**form) if config["network"] == "vit" else SwinConfig(**form)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"The configuration is not one of an adapted network of MedFMC ({type(error).__name__}: {error})."
        ) from error

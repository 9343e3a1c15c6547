"""A network of timm as a model of omlab: a picture in, an embedding out; classes where it was fine-tuned.

session = omlab.load_model("timm", settings={"model": "vit_small_patch16_224.dino"})
vector = session.embed(omlab.read("photo.jpg"))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from omlab.card_schema import ModelCard
from omlab.errors import SettingsError, WeightsError
from omlab.payloads import Inputs
from omlab.roles import About, Dataset
from omlab.weights import UNTRAINED, Weights
from omlab_image.answers import Task, classes_of
from omlab_image.model import ImageModel, finite_image
from omlab_payloads.classes import Classes
from omlab_payloads.embedding import Embedding
from omlab_timm.network import build, check, copied, layers_of, transform, with_head


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> TimmModel:
    """The entry of the card.

    Raises:
        SettingsError: timm has no such network, or not of that size.
        WeightsError: The file holds another network; names some of the keys.
    """
    name, size, task = settings["model"], settings["size"], Task()
    if config is not None:
        try:
            name, size, task = str(config["model"]), int(config["size"]), Task.from_config(config)
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(
                f"The configuration is not one of an adapted network of timm ({type(error).__name__}: {error})."
            ) from error
        check({"model": name}, weights=UNTRAINED)
        network = build(name, size=size, classes=len(task.classes))
        if weights is not None:
            weights.load(network)
    elif weights is None:
        network = build(name, size=size)
    else:
        network = build(name, size=size, state=weights.state_dict(), source=str(weights.path()))
    return TimmModel(network, name=name, size=size, task=task, device=device)


class TimmModel(ImageModel[nn.Module]):
    """A network: verbs `embed` and, of classifiers, `predict`; the recipe `classification` (`omlab.roles.Trainable`).

    Args:
        module: The network, with a head where there are classes.
        name: timm's.
        size: Pixels of a side of what it sees; 0: as it was trained.
        task: What the head tells; empty without one.
        device: "cpu", "cuda" or "cuda:N".
    """

    def __init__(self, module: nn.Module, *, name: str, size: int, task: Task, device: str) -> None:
        self.transform = transform(module, size=size)
        super().__init__(module, task=task, name=name, device=device)
        self.size = size

    def prepare(self, verb: str, inputs: Inputs, /) -> Tensor:
        """What the network sees of a picture, [3, S, S]. Raises `InputError` where a pixel is no number."""
        image = finite_image(inputs)
        return self.transform(image)

    def embed(self, batch: Sequence[Tensor], /) -> Iterator[Embedding]:
        """The pooled features of pictures, before any head."""
        for vector in self._applied(self._features, batch):
            yield Embedding(vector=vector.numpy(), model=f"timm/{self.name}")

    def predict(self, batch: Sequence[Tensor], /) -> Iterator[Classes]:
        """The probability of each class."""
        for logits in self._applied(self.module, batch):
            yield classes_of(logits, names=self.task.classes, threshold=self.task.threshold)

    def _features(self, images: Tensor) -> Tensor:
        module: Any = self.module
        found: Tensor = module.forward_head(module.forward_features(images), pre_logits=True)
        return found

    def _applied(self, network: Any, batch: Sequence[Tensor]) -> Tensor:
        """What the network gives, (B, D). Raises `SettingsError` where that is no vector for each picture."""
        self.module.eval()
        with torch.inference_mode():
            found = network(torch.stack(list(batch)).to(self.device))
        if not isinstance(found, Tensor) or found.ndim != 2:
            what = f"the shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
            raise SettingsError(
                f"'{self.name}' gives {what} for pictures, not a vector for each: choose another network."
            )
        return found.float().cpu()

    def layers(self) -> list[list[str]]:
        """Parameter names from input to head, as timm groups them."""
        return layers_of(self.module)

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> TimmModel:
        """A copy with a new head for the classes that `about` tells of. Raises `TrainingError` for fewer than two."""
        task = Task.of(about, multi_label=settings["multi_label"])
        module = with_head(copied(self.module), classes=len(task.classes), seed=seed)
        return TimmModel(module, name=self.name, size=self.size, task=task, device=self.device)

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """Fine-tuning (`omlab_timm.training`)."""
        from omlab_timm.training import classification

        return classification(self, data, settings=settings, seed=seed)

    def config(self) -> dict[str, Any]:
        """Everything but the weights, as JSON."""
        return {"model": self.name, "size": self.size, **self.task.to_config()}

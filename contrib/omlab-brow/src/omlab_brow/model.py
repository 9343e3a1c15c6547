"""BROW as a model of omlab: a patch in, an embedding out; classes where it was fine-tuned.

session = omlab.load_model("brow.published")
vector = session.embed(omlab.read("patch.png"))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor

from omlab.card_schema import ModelCard
from omlab.errors import SettingsError, WeightsError
from omlab.payloads import Inputs
from omlab.roles import About, Dataset
from omlab.weights import Weights
from omlab_brow.distillation import SelfDistillation
from omlab_brow.images import Seen
from omlab_brow.retarget import Network, retargeted
from omlab_brow.vit import VitConfig, allocate, untrained
from omlab_brow.weights import recognise
from omlab_image.answers import Task, outputs_of
from omlab_image.model import ImageModel, finite_image
from omlab_payloads.embedding import Embedding
from omlab_train.distillation import HeadConfig

PUBLISHED = VitConfig()
TINY = VitConfig(size=32, patch=8, width=96, depth=3, heads=3)


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> BrowModel:
    """The entry of the cards.

    Raises:
        WeightsError: The file cannot be read, or holds another network.
        SettingsError: `size` does not fit the network.
    """
    task = Task()
    network: Network
    if config is not None:
        network, task = _from_config(config)
        if weights is not None:
            weights.load(network)
    elif weights is not None:
        found = recognise(weights.state_dict(), source=weights.path())
        network = allocate(found.config)
        weights.load(network, state=found.state)
    else:
        network = untrained(TINY if card.name == "brow-tiny" else PUBLISHED)
    return BrowModel(network, task=task, name=card.name, device=device, settings=settings)


class BrowModel(ImageModel[Network]):
    """A network with its task: verbs `embed`, of classifiers `predict`; recipes (`omlab.roles.Trainable`).

    Args:
        module: The network.
        task: What it tells; empty for an encoder.
        name: Of the card.
        device: "cpu", "cuda" or "cuda:N".
        settings: Those of the card, complete.

    Raises:
        SettingsError: `size` is no multiple of a patch.
    """

    def __init__(self, module: Network, *, task: Task, name: str, device: str, settings: Mapping[str, Any]) -> None:
        super().__init__(module, task=task, name=name, device=device, settings=settings)
        size, patch = settings["size"] or module.config.size, module.config.patch
        if size % patch:
            raise SettingsError(f"size is {size}, but must be a multiple of the patch, {patch} pixels.")
        self.seen = Seen(size=size, view=settings["view"])

    def prepare(self, verb: str, inputs: Inputs, /, **options: Any) -> Tensor:
        """What the network sees of an image, [3, S, S]."""
        return self.seen(finite_image(inputs))

    def embed(self, batch: Sequence[Tensor], /) -> Iterator[Embedding]:
        """The features of images; those of other views cannot be compared, so their maker is named so."""
        maker = f"{self.name} ({self.seen.view}, {self.seen.size} px)"
        for vector in outputs_of(self.module, batch, by=self.module.features):
            yield Embedding(vector=vector.numpy(), model=maker)

    def layers(self) -> list[list[str]]:
        """Parameter names from input to head: tokens, positions and patches; each block; norm and heads."""
        names = [name for name, _ in self.module.named_parameters()]
        prefix = "student.backbone." if isinstance(self.module, SelfDistillation) else ""
        first = tuple(f"{prefix}{part}" for part in ("cls_token", "pos_embed", "patch_embed."))
        parts = [first, *((f"{prefix}blocks.{number}.",) for number in range(self.module.config.depth))]
        layers = [[name for name in names if name.startswith(prefixes)] for prefixes in parts]
        placed = {name for layer in layers for name in layer}
        return [*layers, [name for name in names if name not in placed]]

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> BrowModel:
        """A copy with a head for the classes that `about` tells of, or with a teacher (`omlab_brow.retarget`)."""
        module, task = retargeted(self.module, recipe=recipe, about=about, settings=settings, seed=seed)
        return BrowModel(module, task=task, name=self.name, device=self.device, settings=self.settings)

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """Fine-tuning to classes, or self-distillation (`omlab_brow.training`)."""
        from omlab_brow.training import BrowDistillation, classification

        make = BrowDistillation if recipe == "self-distillation" else classification
        return make(self, data, settings=settings, seed=seed)

    def config(self) -> dict[str, Any]:
        """Everything but the weights, as JSON: architecture and classes."""
        head = asdict(self.module.head) if isinstance(self.module, SelfDistillation) else None
        return {
            "network": asdict(self.module.config),
            "head": head,
            "task": self.task.to_config(),
        }


def _from_config(config: Mapping[str, Any]) -> tuple[Network, Task]:
    try:
        network = VitConfig(**config["network"])
        task = Task.from_config(config["task"])
        head = HeadConfig(**config["head"]) if config["head"] is not None else None
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"The configuration is not one of an adapted BROW ({type(error).__name__}: {error})."
        ) from error
    return (allocate(network) if head is None else SelfDistillation(network, head=head).eval()), task

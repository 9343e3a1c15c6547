"""Endo-FM as a model of omlab: a clip in, an embedding out; classes where it was fine-tuned.

session = omlab.load_model("endofm-polypdiag.published")
classes = session.predict(omlab.read("clip.mp4"))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

import omlab
from omlab.card_schema import ModelCard
from omlab.errors import SettingsError, WeightsError
from omlab.payloads import Inputs
from omlab.roles import About, Dataset
from omlab.weights import Weights
from omlab_endofm.backbone import BackboneConfig
from omlab_endofm.classifier import untrained_classifier
from omlab_endofm.distillation import ClipDistillation
from omlab_endofm.retarget import DINO, Network, encoder_of, retargeted
from omlab_endofm.seen import Seen
from omlab_endofm.weights import classifier_state
from omlab_image.answers import Task
from omlab_payloads.classes import Classes
from omlab_payloads.embedding import Embedding
from omlab_train.distillation import HeadConfig
from omlab_video.clip import Clip

TINY = BackboneConfig(size=32, patch=16, width=48, depth=2, heads=3)
POLYPDIAG = ("normal", "abnormal")
_PLACES = {"left": 0, "centre": 1, "right": 2}


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> EndofmModel:
    """The entry of the cards.

    Raises:
        WeightsError: The file cannot be read, or holds another network.
        SettingsError: `size` does not fit the network.
    """
    network: Network
    names: tuple[str, ...] = POLYPDIAG if card.name.startswith("endofm-polypdiag") else ()
    if config is not None:
        network, task = _from_config(config)
        if weights is not None:
            weights.load(network)
    elif weights is not None:
        state, backbone, classes = classifier_state(weights)
        if classes != len(names):
            raise WeightsError(f"{weights.path()} tells {classes} classes, but {card.name} {len(names)}.")
        network = untrained_classifier(backbone, classes=classes)
        weights.load(network, state=state)
        task = Task(classes=names)
    else:
        backbone = TINY if card.name.endswith("-tiny") else BackboneConfig()
        network, task = untrained_classifier(backbone, classes=len(names)), Task(classes=names)
    return EndofmModel(network, task=task, name=card.name, device=device, settings=settings)


class EndofmModel:
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
        self.module = module.to(device).eval()
        self.task, self.name, self.settings = task, name, dict(settings)
        size, patch = settings["size"] or module.config.size, module.config.patch
        if size % patch:
            raise SettingsError(f"size is {size}, but must be a multiple of the patch, {patch} pixels.")
        self.seen = Seen(
            size=size,
            frames=settings["frames"],
            seconds=settings["seconds"],
            clips=settings["clips"],
            place=_PLACES[settings["place"]],
            preset=settings["intensities"],
        )

    @property
    def device(self) -> str:
        """Where the network is."""
        return str(next(self.module.parameters()).device)

    def prepare(self, verb: str, inputs: Inputs, /, **options: Any) -> Tensor:
        """What the network sees of a clip, (N, 3, T, S, S)."""
        return self.seen(omlab.take(inputs, "clip", Clip))

    def embed(self, batch: Sequence[Tensor], /) -> Iterator[Embedding]:
        """The features of clips, the mean of their parts; those seen otherwise cannot be compared."""
        seen = self.seen
        maker = f"{self.name} ({seen.frames} frames, {seen.size} px, {seen.preset})"
        for features in self._applied(encoder_of(self.module), batch):
            yield Embedding(vector=features.mean(dim=0).numpy(), model=maker)

    def predict(self, batch: Sequence[Tensor], /) -> Iterator[Classes]:
        """The probability of each class, the mean of the clip's parts."""
        threshold = self.task.threshold
        for logits in self._applied(self.module, batch):
            shares = logits.double().softmax(1) if threshold is None else logits.double().sigmoid()
            yield Classes(names=self.task.classes, probabilities=shares.mean(dim=0).tolist(), threshold=threshold)

    def _applied(self, network: Any, batch: Sequence[Tensor]) -> Sequence[Tensor]:
        self.module.eval()
        with torch.inference_mode():
            found: Tensor = network(torch.cat(list(batch)).to(self.device)).float().cpu()
        starts = accumulate((len(parts) for parts in batch), initial=0)
        return [found[start : start + len(parts)] for start, parts in zip(starts, batch, strict=False)]

    def layers(self) -> list[list[str]]:
        """Parameter names from input to head: tokens, places, times and patches; each block; norm and head."""
        names = [name for name, _ in self.module.named_parameters()]
        prefix = "student.backbone." if isinstance(self.module, ClipDistillation) else "backbone."
        first = tuple(f"{prefix}{part}" for part in ("cls_token", "pos_embed", "time_embed", "patch_embed."))
        parts = [first, *((f"{prefix}blocks.{number}.",) for number in range(self.module.config.depth))]
        layers = [[name for name in names if name.startswith(prefixes)] for prefixes in parts]
        placed = {name for layer in layers for name in layer}
        return [*layers, [name for name in names if name not in placed]]

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> EndofmModel:
        """A copy with a head for the classes that `about` tells of, or with a teacher (`omlab_endofm.retarget`)."""
        module, task = retargeted(self.module, recipe=recipe, about=about, settings=settings, seed=seed)
        return EndofmModel(module, task=task, name=self.name, device=self.device, settings=self.settings)

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """Fine-tuning to classes, or self-distillation (`omlab_endofm.training`)."""
        from omlab_endofm.training import ClipClassification, ClipDino

        make = ClipDino if recipe == DINO else ClipClassification
        return make(self, data, settings=settings, seed=seed)

    def config(self) -> dict[str, Any]:
        """Everything but the weights, as JSON: architecture, classes, and of a student and its teacher their heads."""
        head = asdict(self.module.head) if isinstance(self.module, ClipDistillation) else None
        return {"backbone": asdict(self.module.config), "head": head, **self.task.to_config()}


def _from_config(config: Mapping[str, Any]) -> tuple[Network, Task]:
    try:
        backbone, task = BackboneConfig(**config["backbone"]), Task.from_config(config)
        head = HeadConfig(**config["head"]) if config["head"] is not None else None
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"The configuration is not one of an adapted Endo-FM ({type(error).__name__}: {error})."
        ) from error
    if head is not None:
        return ClipDistillation(backbone, head=head).eval(), task
    return untrained_classifier(backbone, classes=len(task.classes)), task

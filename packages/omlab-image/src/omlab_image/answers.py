"""What networks give, as payloads: logits as classes, the best class of each pixel as a label map."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from omlab.errors import TrainingError
from omlab.roles import About
from omlab_image.image import Image, LabelMap2D
from omlab_payloads.classes import Classes
from omlab_payloads.sureness import Sureness


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a classifier tells: names of its outputs, and from which probability on each is so (None: one is right)."""

    classes: tuple[str, ...] = ()
    threshold: float | None = None

    @classmethod
    def of(cls, about: About, *, multi_label: bool) -> Self:
        """To tell the classes of a data set, or each of them by itself. Raises `TrainingError` as `class_names`."""
        return cls(classes=class_names(about, multi_label=multi_label), threshold=0.5 if multi_label else None)

    def to_config(self) -> dict[str, Any]:
        """As JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Of what `to_config` gave. Raises `KeyError` or `TypeError` for anything else."""
        found = {field.name: config[field.name] for field in fields(cls)}
        values: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in found.items()}
        return cls(**values)


def class_names(about: About, *, multi_label: bool = False) -> tuple[str, ...]:
    """The names of a data set's classes, by their values.

    Raises:
        TrainingError: There are fewer than two; of several right ones, none.
    """
    names = tuple(about.classes[value] for value in sorted(about.classes))
    if len(names) < (1 if multi_label else 2):
        raise TrainingError(f"The data set names {len(names)} classes: a classifier tells at least two apart.")
    return names


def outputs_of(module: nn.Module, batch: Sequence[Tensor], *, by: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """What a network gives for images of one shape, (B, ...) in float32 on the CPU.

    Args:
        module: The network; it is put into evaluation mode, and its device is where it is computed.
        batch: The images, each as the network sees one.
        by: What of it is called; left out: itself.
    """
    module.eval()
    with torch.inference_mode():
        stacked = torch.stack(list(batch)).to(next(module.parameters()).device)
        found: Tensor = (module if by is None else by)(stacked)
    return found.float().cpu()


def classes_of(logits: Tensor, *, names: Sequence[str], threshold: float | None) -> Classes:
    """The classes of one image.

    Args:
        logits: (K,), on the CPU.
        names: Of the K classes.
        threshold: None: one class is right, so that probabilities add up to 1 (softmax). A number: each is right or not
            by itself (sigmoid), from there on.
    """
    found = logits.double().softmax(0) if threshold is None else logits.double().sigmoid()
    return Classes(names=names, probabilities=found.tolist(), threshold=threshold)


def label_map_of(
    scores: Tensor, *, values: Sequence[int], names: Sequence[str], image: Image, softmax: bool
) -> LabelMap2D:
    """The label map of an image, on its own pixels, which tells how sure it is (`omlab_payloads.sureness`).

    Args:
        scores: (1 + K, H, W), the background's first; the highest has a pixel.
        values: Of the K classes in label maps.
        names: Of the classes.
        image: Whose label map it is.
        softmax: Whether scores are logits; else they are shares, and add up to whatever they do.
    """
    best = scores.argmax(dim=0)
    sureness = Sureness(len(scores), softmax=softmax)
    sureness.add_scores(scores[:, None], labels=best[None])
    counts = torch.bincount(best.flatten(), minlength=len(scores)).tolist()
    table = np.array([0, *values])
    return LabelMap2D(
        array=table.astype(np.uint8 if table.max() < 256 else np.uint16)[best.numpy()],
        names=dict(zip(values, names, strict=True)),
        spacing=image.spacing,
        source=image.source,
        facts=sureness.facts(dict(enumerate(names, start=1)), counts=counts, voxel_ml=None),
    )

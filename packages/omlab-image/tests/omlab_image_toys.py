"""A data set of small drawn images, and networks that learn from them in seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from omlab import About, Sample
from omlab.digests import digest_of
from omlab.errors import InputError
from omlab.payloads import Payload
from omlab_image import Image, LabelMap2D
from omlab_payloads.classes import Classes

NAMES = ("dark", "bright")
SIZE = 16


@dataclass(frozen=True)
class DrawnCase:
    """A bright or dark disc at a place that its number says."""

    id: str
    number: int
    target: str = "classes"
    group: str | None = None
    files: Mapping[str, Sequence[Path]] = field(default_factory=dict)

    def load(self) -> Sample:
        if self.target == "broken":
            raise InputError(f"{self.id}.png is damaged.")
        draw = np.random.default_rng(self.number)
        is_bright = self.number % 2
        rows, columns = np.ogrid[:24, :20]
        disc = np.hypot(rows - draw.uniform(8, 16), columns - draw.uniform(7, 13)) < 6
        array = (draw.normal(110, 12, (24, 20)) + np.where(disc, 100 if is_bright else -100, 0)).clip(0, 255)
        image = Image(array=array.astype(np.uint8))
        target: Payload | None = None
        if self.target == "classes":
            target = Classes(names=NAMES, probabilities=(1.0 - is_bright, is_bright))
        elif self.target == "several":
            target = Classes(names=NAMES, probabilities=(float(self.number % 3 > 0), is_bright), threshold=0.5)
        elif self.target == "labelmap-2d":
            target = LabelMap2D(array=np.where(disc, 5 if is_bright else 2, 0).astype(np.uint8))
        return Sample(id=self.id, inputs={"image": image}, target=target)


class Drawn:
    """A data set of them."""

    def __init__(self, *, train: int = 16, val: int = 8, target: str = "classes") -> None:
        self.counts = {"train": train, **({"val": val} if val else {})}
        self.target = target

    def splits(self) -> Sequence[str]:
        return list(self.counts)

    def prepare(self) -> None:
        pass

    def about(self, split: str) -> About:
        return About(inputs={"image": "image"}, target=self.target, cases=self.counts[split])

    def digest(self, split: str) -> str:
        return digest_of([split, self.counts[split], self.target])

    def cases(self, split: str) -> Sequence[DrawnCase]:
        first = 0 if split == "train" else 1000
        return [DrawnCase(f"{split}-{n}", first + n, self.target) for n in range(self.counts[split])]

    def verify(self) -> Sequence[str]:
        return []


def classifier(outputs: int = 2) -> nn.Module:
    """Sees how bright each of 16 places is."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.AvgPool2d(4), nn.Flatten(), nn.Linear(3 * (SIZE // 4) ** 2, 8), nn.GELU(), nn.Linear(8, outputs)
    )


CLASSIFIER_LAYERS = (("2.weight", "2.bias"), ("4.weight", "4.bias"))


def segmenter(outputs: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, outputs, 3, padding=1, stride=2))


SEGMENTER_LAYERS = (("0.weight", "0.bias"), ("2.weight", "2.bias"))


class Filler(nn.Module):
    """Guesses the mean of what was masked from what was not."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.guess = nn.Linear(3 * SIZE**2, 3 * SIZE**2)

    def forward(self, images: Any, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        images = images if isinstance(images, Tensor) else images["sharp"]
        flat = images.flatten(1)
        hidden = torch.rand(flat.shape, generator=generator, device=flat.device) < 0.5
        error = (self.guess(flat * ~hidden) - flat).square()
        return error[hidden].mean(), {"whole": error.mean()}

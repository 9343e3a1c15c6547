"""MIL-FC: the instance classifier whose best patch speaks for the bag, CLAM's baseline (Lu et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from omlab_slide.mil.output import MilOutput
from omlab_slide.mil.packed import check_offsets, spans


@dataclass(frozen=True, kw_only=True)
class MaxPoolConfig:
    """The hyper-parameters.

    Attributes:
        embed_dim: Of patch features.
        n_classes: Of bags.
        hidden: Width of the hidden layer.
        dropout: After it.

    Raises `ValueError` for a value that cannot be.
    """

    embed_dim: int = 1024
    n_classes: int = 2
    hidden: int = 512
    dropout: float = 0.25

    def __post_init__(self) -> None:
        if min(self.embed_dim, self.hidden) < 1 or self.n_classes < 2:
            raise ValueError(f"{self}: widths must be at least 1 and n_classes at least 2.")


class MaxPool(nn.Module):
    """Every patch is classified; the bag has the logits of its best one.

    Of two classes the best patch is the one with the highest probability of class 1, of more the one with the highest
    probability of any class. The layer is called `classifier` or `classifiers`, as published.

    Its `attention` is what each patch is classified as.
    """

    classifies_patches = True

    def __init__(self, config: MaxPoolConfig) -> None:
        super().__init__()
        self.config = config
        self.fc = nn.Sequential(nn.Linear(config.embed_dim, config.hidden), nn.ReLU(), nn.Dropout(config.dropout))
        layer = nn.Linear(config.hidden, config.n_classes)
        if config.n_classes == 2:
            self.classifier = layer
        else:
            self.classifiers = layer

    def hidden(self, features: Tensor) -> Tensor:
        """The hidden features (sum N, hidden)."""
        hidden: Tensor = self.fc(features)
        return hidden

    def classify(self, hidden: Tensor) -> Tensor:
        """The logits (sum N, C) of patches."""
        layer = self.classifier if self.config.n_classes == 2 else self.classifiers
        logits: Tensor = layer(hidden)
        return logits

    def best(self, logits: Tensor, offsets: Tensor) -> Tensor:
        """The row (B,) of each bag's best patch, by the logits (sum N, C) of patches."""
        probabilities = logits.softmax(dim=1)
        scores = probabilities[:, 1] if self.config.n_classes == 2 else probabilities.amax(dim=1)
        return torch.stack([span.start + scores[span].argmax() for span in spans(offsets)])

    def forward(
        self, features: Tensor, offsets: Tensor, labels: Tensor | None = None, *, others: bool = False
    ) -> MilOutput:
        """The classes of packed bags; the attention is the logits (sum N, C) of patches. `labels` change nothing."""
        check_offsets(features, offsets)
        logits = self.classify(self.hidden(features))
        return MilOutput(logits[self.best(logits, offsets)], logits.detach())

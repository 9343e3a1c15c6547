"""Attention-based pooling (Ilse, Tomczak and Welling, ICML 2018), with several heads and branches, on packed bags.

The keys are those of the pooling that TRIDENT's slide encoders have.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from omlab_kernels import gated_pooling
from omlab_slide.mil.attention import weighted_means
from omlab_slide.mil.output import MilOutput
from omlab_slide.mil.packed import check_offsets


@dataclass(frozen=True, kw_only=True)
class PoolingConfig:
    """The hyper-parameters.

    Attributes:
        feature_dim: Of the features that are pooled.
        head_dim: Of V and U in each head.
        n_heads: Attentions whose means are put together again by a linear layer.
        n_branches: Means of each head, each with scores of its own.
        gated: Whether tanh(V h) is multiplied by sigmoid(U h).
        dropout: After tanh and sigmoid.

    Raises `ValueError` for a value that cannot be.
    """

    feature_dim: int = 512
    head_dim: int = 256
    n_heads: int = 1
    n_branches: int = 1
    gated: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if min(self.feature_dim, self.head_dim, self.n_heads, self.n_branches) < 1 or not 0 <= self.dropout < 1:
            raise ValueError(f"{self}: numbers must be at least 1, dropout at least 0 and below 1.")


class AttentionPooling(nn.Module):
    """Packed bags to features of bags."""

    def __init__(self, config: PoolingConfig) -> None:
        super().__init__()
        self.config = config
        width, inner, heads = config.feature_dim, config.head_dim, range(config.n_heads)
        self.attention_heads = nn.ModuleList(
            nn.Sequential(nn.Linear(width, inner), nn.Tanh(), nn.Dropout(config.dropout)) for _ in heads
        )
        if config.gated:
            self.gating_layers = nn.ModuleList(
                nn.Sequential(nn.Linear(width, inner), nn.Sigmoid(), nn.Dropout(config.dropout)) for _ in heads
            )
        self.branching_layers = nn.ModuleList(nn.Linear(inner, config.n_branches) for _ in heads)
        if config.n_heads > 1:
            self.condensing_layer = nn.Linear(config.n_heads * width, width)

    def forward(self, features: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Pool packed bags.

        Args:
            features: (sum N, D).
            offsets: (B + 1,).

        Returns:
            Features of bags (B, branches, D), and the scores (sum N, branches, heads), through which no gradient goes.
        """
        check_offsets(features, offsets)
        pairs = [self._head(head, features, offsets) for head in range(self.config.n_heads)]
        pooled = torch.cat([means for means, _ in pairs], dim=2)
        if self.config.n_heads > 1:
            pooled = self.condensing_layer(pooled)
        return pooled, torch.stack([scores for _, scores in pairs], dim=2)

    def _head(self, head: int, features: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        value, score = self.attention_heads[head], self.branching_layers[head]
        gate = self.gating_layers[head] if self.config.gated else None
        if self.training and self.config.dropout:
            seen = value(features) if gate is None else value(features) * gate(features)
            scores = score(seen)
            return weighted_means(features, scores, offsets), scores.detach()
        return gated_pooling(
            features,
            offsets,
            value=_parts(value[0]),  # type: ignore[index]
            gate=None if gate is None else _parts(gate[0]),  # type: ignore[index]
            score=_parts(score),
        )


@dataclass(frozen=True, kw_only=True)
class AbmilConfig:
    """The hyper-parameters.

    Attributes:
        embed_dim: Of patch features.
        n_classes: Of bags.
        width: Of the features that are pooled; 0: those of the patches themselves, without a layer before.
        pooling: Of the attention.
        dropout: After the layer before the pooling.

    Raises `ValueError` for a value that cannot be.
    """

    embed_dim: int = 1024
    n_classes: int = 2
    width: int = 512
    head_dim: int = 256
    n_heads: int = 1
    gated: bool = True
    dropout: float = 0.25

    def __post_init__(self) -> None:
        if min(self.embed_dim, self.n_classes) < 1 or self.width < 0:
            raise ValueError(f"{self}: embed_dim and n_classes must be at least 1, width at least 0.")

    @property
    def pooling(self) -> PoolingConfig:
        """Of the attention."""
        return PoolingConfig(
            feature_dim=self.width or self.embed_dim,
            head_dim=self.head_dim,
            n_heads=self.n_heads,
            gated=self.gated,
            dropout=self.dropout,
        )


class Abmil(nn.Module):
    """A layer, the pooling and a linear classifier of bags."""

    def __init__(self, config: AbmilConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Sequential()
        if config.width:
            self.embed = nn.Sequential(nn.Linear(config.embed_dim, config.width), nn.ReLU(), nn.Dropout(config.dropout))
        self.pool = AttentionPooling(config.pooling)
        self.head = nn.Linear(config.pooling.feature_dim, config.n_classes)

    def forward(
        self, features: Tensor, offsets: Tensor, labels: Tensor | None = None, *, others: bool = False
    ) -> MilOutput:
        """The classes of packed bags; the attention is the mean of the heads' scores. `labels` change nothing."""
        check_offsets(features, offsets)
        pooled, scores = self.pool(self.embed(features), offsets)
        return MilOutput(self.head(pooled[:, 0]), scores.mean(dim=2))


def _parts(layer: nn.Module) -> tuple[Tensor, Tensor]:
    assert isinstance(layer, nn.Linear)
    return layer.weight, layer.bias

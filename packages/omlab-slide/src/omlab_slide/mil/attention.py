"""What attention-based networks score patches with, in the two forms that published checkpoints have."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from omlab_kernels import gated_pooling
from omlab_slide.mil.packed import spans


class Scoring(nn.Module, ABC):
    """score = w^T (tanh(V h) [* sigmoid(U h)]): one score a patch and branch (Ilse et al. 2018, equations 8 and 9).

    What subclasses bring are the layers, under the names that their checkpoints have.
    """

    has_dropout: bool

    @abstractmethod
    def layers(self) -> tuple[nn.Linear, nn.Linear | None, nn.Linear]:
        """V, U (None: not gated) and w."""

    @abstractmethod
    def drawn(self, hidden: Tensor) -> Tensor:
        """The scores (sum N, K) with the dropout that training has."""

    def forward(self, hidden: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Pool packed bags.

        Args:
            hidden: (sum N, D).
            offsets: (B + 1,).

        Returns:
            The means (B, K, D) of a bag's rows, weighted by the softmax of their scores, and the scores (sum N, K),
            through which no gradient goes.
        """
        if self.training and self.has_dropout:
            scores = self.drawn(hidden)
            return weighted_means(hidden, scores, offsets), scores.detach()
        value, gate, score = self.layers()
        pooled, scores = gated_pooling(
            hidden,
            offsets,
            value=(value.weight, value.bias),
            gate=None if gate is None else (gate.weight, gate.bias),
            score=(score.weight, score.bias),
        )
        return pooled, scores


class GatedScoring(Scoring):
    """As CLAM names it: `attention_a.0`, `attention_b.0`, `attention_c`.

    Args:
        width: D.
        hidden: Of V and U.
        branches: K.
        dropout: After tanh and sigmoid; 0: none.
    """

    def __init__(self, *, width: int, hidden: int, branches: int, dropout: float) -> None:
        super().__init__()
        dropouts = [nn.Dropout(dropout)] if dropout else []
        self.has_dropout = bool(dropout)
        self.attention_a = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), *dropouts)
        self.attention_b = nn.Sequential(nn.Linear(width, hidden), nn.Sigmoid(), *dropouts)
        self.attention_c = nn.Linear(hidden, branches)

    def layers(self) -> tuple[nn.Linear, nn.Linear | None, nn.Linear]:
        """V, U and w."""
        value, gate = self.attention_a[0], self.attention_b[0]
        assert isinstance(value, nn.Linear)
        assert isinstance(gate, nn.Linear)
        return value, gate, self.attention_c

    def drawn(self, hidden: Tensor) -> Tensor:
        """The scores with dropout."""
        scores: Tensor = self.attention_c(self.attention_a(hidden) * self.attention_b(hidden))
        return scores


class PlainScoring(Scoring):
    """Without a gate, as CLAM names it: `module.0` and `module.2`, or `module.3` where there is dropout between."""

    def __init__(self, *, width: int, hidden: int, branches: int, dropout: float) -> None:
        super().__init__()
        dropouts = [nn.Dropout(dropout)] if dropout else []
        self.has_dropout = bool(dropout)
        self.module = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), *dropouts, nn.Linear(hidden, branches))

    def layers(self) -> tuple[nn.Linear, nn.Linear | None, nn.Linear]:
        """V and w."""
        value, score = self.module[0], self.module[-1]
        assert isinstance(value, nn.Linear)
        assert isinstance(score, nn.Linear)
        return value, None, score

    def drawn(self, hidden: Tensor) -> Tensor:
        """The scores with dropout."""
        scores: Tensor = self.module(hidden)
        return scores


def weighted_means(rows: Tensor, scores: Tensor, offsets: Tensor) -> Tensor:
    """(B, K, D): of each bag's `rows` (sum N, D) the means weighted by the softmax of `scores` (sum N, K)."""
    return torch.stack([scores[span].softmax(dim=0).mT @ rows[span] for span in spans(offsets)])


def softmax_of(scores: Tensor, offsets: Tensor) -> Tensor:
    """The softmax of scores (sum N, K) over the patches of each bag."""
    return torch.cat([scores[span].softmax(dim=0) for span in spans(offsets)])

"""CLAM (Lu et al., Nature Biomedical Engineering 2021) in its two published forms, on packed bags.

Patches are scored by attention and pooled; beside that the patches of highest and of lowest attention train a
classifier of patches for each class (the instance branch). SB has one attention for all classes, MB one for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from omlab_slide.mil.attention import GatedScoring, PlainScoring, Scoring
from omlab_slide.mil.output import Instances, MilOutput
from omlab_slide.mil.packed import check_offsets, spans

SIZES = {"small": (512, 256), "big": (512, 384), "tiny": (16, 8)}
"""Widths of the hidden features and of the attention; `tiny` is ours, for tests."""
ATTENTION_DROPOUT = 0.25
"""Inside the attention it is this wherever there is any, whatever the rest has."""


@dataclass(frozen=True, kw_only=True)
class ClamConfig:
    """The hyper-parameters.

    Attributes:
        embed_dim: Of patch features.
        n_classes: Of bags.
        branches: "single" (CLAM-SB) or "multi" (CLAM-MB).
        size: Of `SIZES`.
        gate: Whether the attention is gated.
        dropout: After the first layer; any but 0 is `ATTENTION_DROPOUT` inside the attention.
        k_sample: Patches of highest, and of lowest attention that train the instance branch.

    Raises `ValueError` for a value that cannot be.
    """

    embed_dim: int = 1024
    n_classes: int = 2
    branches: str = "single"
    size: str = "small"
    gate: bool = True
    dropout: float = 0.25
    k_sample: int = 8

    def __post_init__(self) -> None:
        if self.size not in SIZES or self.branches not in ("single", "multi"):
            raise ValueError(f"size {self.size!r} and branches {self.branches!r}: of {[*SIZES]}, single or multi.")
        if min(self.embed_dim, self.n_classes, self.k_sample) < 1 or not 0 <= self.dropout < 1:
            raise ValueError(
                f"embed_dim {self.embed_dim}, n_classes {self.n_classes} and k_sample {self.k_sample} must be at least "
                f"1, dropout {self.dropout} at least 0 and below 1."
            )


class Clam(nn.Module):
    """CLAM-SB or CLAM-MB: bags of any size, any number at once."""

    def __init__(self, config: ClamConfig) -> None:
        super().__init__()
        self.config = config
        width, hidden = SIZES[config.size]
        count = config.n_classes
        scoring: type[GatedScoring | PlainScoring] = GatedScoring if config.gate else PlainScoring
        self.attention_net = nn.Sequential(
            nn.Linear(config.embed_dim, width),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            scoring(
                width=width,
                hidden=hidden,
                branches=1 if config.branches == "single" else count,
                dropout=ATTENTION_DROPOUT if config.dropout else 0.0,
            ),
        )
        self.classifiers: nn.Linear | nn.ModuleList
        if config.branches == "single":
            self.classifiers = nn.Linear(width, count)
        else:
            self.classifiers = nn.ModuleList(nn.Linear(width, 1) for _ in range(count))
        self.instance_classifiers = nn.ModuleList(nn.Linear(width, 2) for _ in range(count))

    def hidden(self, features: Tensor) -> Tensor:
        """The features that are pooled, (sum N, 512)."""
        hidden: Tensor = self.attention_net[:3](features)
        return hidden

    def pool(self, hidden: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Features of bags (B, K, 512), and the scores (sum N, K)."""
        scoring = self.attention_net[3]
        assert isinstance(scoring, Scoring)
        pooled, scores = scoring(hidden, offsets)
        return pooled, scores

    def classify(self, pooled: Tensor) -> Tensor:
        """The logits (B, C) of features of bags."""
        if isinstance(self.classifiers, nn.Linear):
            logits: Tensor = self.classifiers(pooled[:, 0])
            return logits
        return torch.cat([layer(pooled[:, c]) for c, layer in enumerate(self.classifiers)], dim=1)

    def forward(
        self, features: Tensor, offsets: Tensor, labels: Tensor | None = None, *, others: bool = False
    ) -> MilOutput:
        """The classes of packed bags.

        Args:
            features: (sum N, E).
            offsets: (B + 1,).
            labels: (B,); where they are given, the instance branch is asked too.
            others: Whether patches of high attention also say that they are of no other class than the bag's (the
                published option `subtyping`).
        """
        check_offsets(features, offsets)
        hidden = self.hidden(features)
        pooled, scores = self.pool(hidden, offsets)
        instances = None
        if labels is not None:
            instances = self._instances(hidden, scores, offsets, labels.tolist(), others=others)
        return MilOutput(self.classify(pooled), scores, instances)

    def _instances(
        self, hidden: Tensor, scores: Tensor, offsets: Tensor, labels: Sequence[int], *, others: bool
    ) -> Instances:
        logits, targets, classes, bags = [], [], [], []
        for bag, (span, label) in enumerate(zip(spans(offsets), labels, strict=True)):
            rows, branches = hidden[span], scores[span]
            for c in [*range(len(self.instance_classifiers))] if others else [label]:
                branch = branches[:, c % branches.shape[1]]  # SB: the only one
                shown, target = _shown(branch, k=self.config.k_sample, is_own=c == label)
                logits.append(self.instance_classifiers[c](rows[shown]))
                targets.append(target)
                classes += [c] * len(target)
                bags += [bag] * len(target)
        place = hidden.device
        return Instances(
            torch.cat(logits), torch.cat(targets), torch.tensor(classes, device=place), torch.tensor(bags, device=place)
        )


def _shown(scores: Tensor, *, k: int, is_own: bool) -> tuple[Tensor, Tensor]:
    """The patches (N) of a bag that the classifier of a class is shown, and what it should say.

    The k of highest attention, in the bag's own class also the k of lowest. A bag of fewer than k patches, which the
    published code refuses, shows half of them on either side, so that none is both.
    """
    count = k if len(scores) >= k else len(scores) // 2
    top = scores.topk(count).indices
    if not is_own:
        return top, torch.zeros_like(top)
    bottom = (-scores).topk(count).indices
    return torch.cat([top, bottom]), torch.cat([torch.ones_like(top), torch.zeros_like(bottom)])

"""What a recipe is measured by on the split `val`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from omlab_train.batches import batches_ahead

Make = Callable[[], tuple[Tensor, Tensor]]


def outputs_of(
    module: nn.Module, batches: Sequence[Make], *, logits: Callable[[Any], Tensor] | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """What the module gives for each batch of (images, targets), and the targets; on the CPU, float32.

    `logits` makes one tensor of it where it is none. A thread makes the batches ahead: they must draw nothing.
    """
    device = next(module.parameters()).device
    numbers = range(len(batches))
    with batches_ahead(lambda number: batches[number](), numbers, workers=0, pinned=False) as made, torch.no_grad():
        for images, targets in made:
            given = module(images.to(device))
            yield (given if logits is None else logits(given)).float().cpu(), targets


def auc(probabilities: Tensor, targets: Tensor) -> float | None:
    """The mean area under the ROC curve of the classes that some and not all of the targets have; None without any.

    Args:
        probabilities: (N, K).
        targets: (N, K), from 0 to 1; a class is there from 0.5 on, NaN does not count.
    """
    from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped]

    areas = []
    for scores, truth in zip(probabilities.T.numpy(), targets.T.numpy(), strict=True):
        known = np.isfinite(truth)
        is_there = truth[known] >= 0.5
        if 0 < is_there.sum() < len(is_there):
            areas.append(float(roc_auc_score(is_there, scores[known])))
    return float(np.mean(areas)) if areas else None

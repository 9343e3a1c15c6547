"""What slide networks minimise: cross-entropy, the smooth top-1 SVM, CLAM's instance loss, discrete-time survival."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from omlab_slide.mil.output import Instances, by_bag_and_class

RowLoss = Callable[[Tensor, Tensor], Tensor]
HARD = 1000.0
"""From which ratio of the two best classes' weights on a row counts as hard."""


def smooth_top1_svm(logits: Tensor, labels: Tensor, *, alpha: float = 1.0, tau: float = 1.0) -> Tensor:
    """The smooth top-1 SVM loss (Berrada, Zisserman and Kumar, ICLR 2018), averaged over rows.

    Of a row x with the class y it is tau log sum_j exp((x_j + alpha [j != y] - x_y) / tau). Where the two highest
    scores differ by at least tau ln 1000 it is max_j (x_j + alpha [j != y]) - x_y.

    Args:
        logits: (R, C).
        labels: (R,).
        alpha: The margin.
        tau: The temperature.
    """
    own = logits.gather(1, labels[:, None])
    margins = logits + alpha * (1 - functional.one_hot(labels, logits.shape[1]).to(logits.dtype)) - own
    best = logits.detach().topk(2, dim=1).values if logits.shape[1] > 1 else logits.detach().expand(-1, 2)
    is_hard = best[:, 0] - best[:, 1] >= tau * math.log(HARD)
    return torch.where(is_hard, margins.amax(dim=1), tau * (margins / tau).logsumexp(dim=1)).mean()


ROW_LOSSES: dict[str, RowLoss] = {"ce": functional.cross_entropy, "svm": partial(smooth_top1_svm, alpha=1.0, tau=1.0)}
"""Of logits (R, C) and labels (R,), by the names that settings have."""


def instance_loss(instances: Instances, *, loss: RowLoss, bags: int, classes: int, others: bool) -> Tensor:
    """CLAM's instance loss, the mean over `bags`.

    Of a bag it is the sum over the classifiers that were asked, each the mean over its patches; divided by the number
    of classes where those of other classes were asked too (`others`), as published.
    """
    parts = [loss(logits, targets) for _, logits, targets in by_bag_and_class(instances)]
    total = torch.stack(parts).sum() if parts else instances.logits.sum()  # 0, but known to autograd
    return total / (bags * (classes if others else 1))


def survival_loss(logits: Tensor, interval: Tensor, event: Tensor, *, alpha: float = 0.0) -> Tensor:
    """The negative log-likelihood of discrete-time hazards (Zadeh and Schmid, IEEE TPAMI 2021), the mean over bags.

    A hazard h_t = sigmoid(logit_t) is the probability of the event in the interval t of those who reached it.

    Args:
        logits: (B, T).
        interval: (B,), in which the event was, or follow-up ended.
        event: (B,), 1 where it was the event.
        alpha: Share by which the cases without an event weigh less.
    """
    log_hazard, log_spared = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    reached = functional.pad(log_spared.cumsum(dim=1), (1, 0))  # of survival before each interval, and after the last
    at = interval[:, None]
    event = event.to(logits.dtype)
    with_event = (reached.gather(1, at) + log_hazard.gather(1, at))[:, 0]
    without = reached.gather(1, at + 1)[:, 0]
    return -(event * with_event + (1 - alpha) * (1 - event) * without).mean()


def survival_of(logits: Tensor) -> Tensor:
    """The probabilities (B, T) of no event until the end of each interval."""
    return functional.logsigmoid(-logits).cumsum(dim=1).exp()

"""The specification of the loss: plain PyTorch, one-hot labels, autograd.

With y the one-hot labels (softmax) or the regions' masks (sigmoid), p the probabilities, and sums over the voxels
of one sample that are not ignored, six numbers for each sample and class say everything:

    overlap  = sum y p
    size     = sum p           (or sum p^2)
    count    = sum y
    entropy  = sum -y log p                    softmax; sum of the binary cross-entropy for sigmoid
    all      = sum -log p                      softmax, for label smoothing; 0 for sigmoid
    focal    = sum -(1 - t)^gamma log t        t = sigmoid(z) where y, else 1 - sigmoid(z)

The focal term looks at each class through the sigmoid also where the Dice uses the softmax, as MONAI's does.
Sources: Milletari et al., V-Net, 3DV 2016 (Dice); Lin et al., Focal loss, ICCV 2017; MONAI 1.6 `losses/dice.py` and
nnU-Net for the options.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def class_sums(
    logits: Tensor, labels: Tensor, *, sigmoid: bool, squared: bool, gamma: float | None, ignore: int | None
) -> Tensor:
    """The six sums of each sample and class, (6, B, C), in the logits' precision.

    Args:
        logits: (B, C, ...).
        labels: (B, ...) integers; with `sigmoid` (B, C, ...), the masks of the regions, in 0 and 1.
        sigmoid: Regions that may overlap, instead of classes that exclude each other.
        squared: size = sum p^2.
        gamma: Exponent of the focal term; None leaves it 0.
        ignore: The label of voxels that do not count; with `sigmoid` a voxel does not count for a region marked so.
    """
    z = logits.flatten(2)
    y = labels.flatten(2 if sigmoid else 1)
    valid = torch.ones_like(y, dtype=torch.bool) if ignore is None else y != ignore
    y = y.masked_fill(~valid, 0)
    if sigmoid:
        target, mask = y.to(z), valid
        p = z.sigmoid()
        entropy = functional.softplus(z) - z * target
        every = torch.zeros_like(z)
    else:
        target = functional.one_hot(y.long(), z.shape[1]).movedim(-1, 1).to(z)
        mask = valid.unsqueeze(1)
        p = z.softmax(1)
        every = -z.log_softmax(1)
        entropy = every * target
    target = target * mask
    if gamma is None:
        focal = torch.zeros_like(z)
    else:
        sign = 2 * target - 1
        focal = -(gamma * functional.logsigmoid(-z * sign)).exp() * functional.logsigmoid(z * sign)
    rows = (p * target, p * p if squared else p, target, entropy, every, focal)
    return torch.stack([(row * mask).sum(2) for row in rows])

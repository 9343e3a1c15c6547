"""What training a registration minimises (Li et al., D-LMBmap, 2023)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

_TINY = 1e-10


def mutual_information(first: Tensor, second: Tensor, *, bins: int = 40) -> Tensor:
    """The negative mutual information (nats) of two lists of values (N,), by a Parzen window on their joint histogram.

    Values are brought to 0..1; bin centres are evenly spread from 0 to 1. A pair at the distance d from its nearest
    centre (in the plane, in units of 1 / bins) counts exp(-2 d^2), and not at all from d = 1/2 on. No other centre is
    that near, so that the histogram is a scatter of N weights: a few MB where all pairs with all bins take 1.3 GB for
    200 000.
    """
    places, far = [], torch.zeros((), device=first.device)
    for values in (first, second):
        low, high = values.min(), values.max()
        along = (values - low) / (high - low).clamp_min(_TINY) * (bins - 1)
        nearest = along.detach().round()
        places.append(nearest.long())
        far = far + ((along - nearest) * (bins / (bins - 1))).square()
    weight = torch.where(far <= 0.25, torch.exp(-2 * far), 0.0)
    joint = weight.new_zeros(bins * bins).index_add(0, places[0] * bins + places[1], weight).view(bins, bins)
    joint = joint / joint.sum().clamp_min(_TINY)
    apart = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    return -(joint * ((joint + _TINY) / (apart + _TINY)).log()).sum()


def local_correlation(first: Tensor, second: Tensor, *, window: int = 4) -> Tensor:
    """The negative mean of the squared local correlation of (B, 1, D, H, W), over cubes of `window` voxels.

    cross^2 / (variance variance + 1e-5), with one voxel of zeros around.
    """
    stacked = torch.cat([first, second, first * first, second * second, first * second], dim=1)
    count = window**3
    sums = stacked
    for axis in range(3):  # one axis after the other
        box = [window if one == axis else 1 for one in range(3)]
        pad = [1 if one == axis else 0 for one in range(3)]
        sums = functional.avg_pool3d(sums, box, stride=1, padding=pad) * window
    a, b, aa, bb, ab = sums.unbind(1)
    cross = ab - a * b / count
    spread = (aa - a * a / count) * (bb - b * b / count)
    return -(cross * cross / (spread + 1e-5)).mean()


def soft_dice(first: Tensor, second: Tensor) -> Tensor:
    """1 - 2 (sum of products) / (sum of both)."""
    return 1 - 2 * (first * second).sum() / (first.sum() + second.sum()).clamp_min(_TINY)


def overlap(first: Tensor, second: Tensor, *, threshold: float) -> Mapping[str, float]:
    """`dice` and `iou` of two volumes cut at `threshold`."""
    a, b = first > threshold, second > threshold
    both, either = int((a & b).sum()), int((a | b).sum())
    sizes = int(a.sum()) + int(b.sum())
    return {"dice": 2 * both / max(sizes, 1), "iou": both / max(either, 1)}


def volume_change(matrix: Tensor) -> Tensor:
    """How far the determinant of matrices (B, 3, 4) is from 1."""
    return (_determinant(matrix[:, :, :3]) - 1).abs().mean()


def matrix_change(matrix: Tensor) -> Tensor:
    """Mean square of what a matrix (B, 3, 4) changes, and of its shift."""
    turn = matrix[:, :, :3] - torch.eye(3, device=matrix.device, dtype=matrix.dtype)
    return turn.square().mean() + matrix[:, :, 3].square().mean()


def smoothness(displacement: Tensor) -> Tensor:
    """Mean square of the differences of (B, D, H, W, 3) between neighbours, summed over the three axes."""
    return torch.stack([displacement.diff(dim=axis).square().mean() for axis in (1, 2, 3)]).sum()


def folding(displacement: Tensor) -> Tensor:
    """Mean of how far the Jacobian determinant of x + displacement (voxels, in x, y, z order) is below 0."""
    inner = displacement[:, :-1, :-1, :-1]
    slopes = [
        displacement[:, :-1, :-1, 1:] - inner,
        displacement[:, :-1, 1:, :-1] - inner,
        displacement[:, 1:, :-1, :-1] - inner,
    ]
    jacobian = torch.stack(slopes, dim=-1) + torch.eye(3, device=displacement.device, dtype=displacement.dtype)
    return functional.relu(-_determinant(jacobian)).mean()


def _determinant(matrix: Tensor) -> Tensor:
    """Of (..., 3, 3), written out: a batch of millions of small matrices is no work for a factorisation."""
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(-1) for row in matrix.unbind(-2))
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)

"""The sums and their gradient in plain PyTorch, some voxels at a time: the gradient is the only large buffer."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

_STRETCH = {"cpu": 1 << 17}  # logits in one stretch: what a core's cache holds
_STRETCH_ELSEWHERE = 1 << 24


def class_sums(
    logits: Tensor, labels: Tensor, sigmoid: bool, squared: bool, gamma: float | None, ignore: int | None
) -> Tensor:
    """`naive.class_sums` in float32 (float64 for float64 logits). `logits` (B, C, V), `labels` (B, V) or (B, C, V)."""
    batch, classes = logits.shape[:2]
    dtype = _work_type(logits)
    sums = torch.zeros(6, batch, classes, dtype=torch.float64, device=logits.device)
    for sample, part in _stretches(logits):
        z = logits[sample, :, part].to(dtype)
        target, mask = _target(labels[sample, ..., part], classes, sigmoid=sigmoid, ignore=ignore)
        if sigmoid:
            p = z.sigmoid()
            entropy = ((functional.softplus(z) - torch.where(target, z, 0)) * mask).sum(1)
            every = torch.zeros_like(entropy)
        else:
            logs = z.log_softmax(0) * mask
            p = logs.exp()
            entropy = -torch.where(target, logs, 0).sum(1)
            every = -logs.sum(1)
        p = p * mask
        rows = [torch.where(target, p, 0).sum(1), (p * p if squared else p).sum(1), target.sum(1), entropy, every]
        if gamma is not None:
            u = torch.where(target, z, -z)
            rows.append((-(gamma * functional.logsigmoid(-u)).exp() * functional.logsigmoid(u) * mask).sum(1))
        for row, value in enumerate(rows):
            sums[row, sample] += value
    return sums.to(dtype)


def class_sums_backward(
    slopes: Tensor, logits: Tensor, labels: Tensor,
    sigmoid: bool, squared: bool, gamma: float | None, ignore: int | None,
) -> Tensor:  # fmt: skip
    """The gradient by `logits` (B, C, V), given the slopes (6, B, C) of the sums.

    With q = dL/dp and a = dL/dlog p of each class and t = p q + a: dL/dz = t - p sum(t) for the softmax.
    """
    classes = logits.shape[1]
    dtype = _work_type(logits)
    gradient = torch.empty_like(logits)
    for sample, part in _stretches(logits):
        z = logits[sample, :, part].to(dtype)
        target, mask = _target(labels[sample, ..., part], classes, sigmoid=sigmoid, ignore=ignore)
        overlap, size, _, entropy, every, focal = slopes[:, sample].to(dtype).unsqueeze(2)
        p = z.sigmoid() if sigmoid else z.softmax(0)
        q = torch.where(target, overlap, 0) + (2 * p * size if squared else size)
        if sigmoid:
            slope = p * (1 - p) * q + entropy * (p - target.to(dtype))
        else:
            t = p * q - torch.where(target, entropy, 0) - every
            slope = t - p * t.sum(0, keepdim=True)
        if gamma is not None:
            sign = target.to(dtype) * 2 - 1
            u = z * sign
            right = u.sigmoid()
            rest = (gamma * functional.logsigmoid(-u)).exp()
            slope = slope + focal * sign * rest * (gamma * right * functional.logsigmoid(u) - (1 - right))
        gradient[sample, :, part] = slope * mask
    return gradient


def check_labels(labels: Tensor, classes: int, *, sigmoid: bool, ignore: int | None) -> None:
    """Labels must be 0..classes-1, masks 0 or 1, except for `ignore`. Looked for on the CPU only: it would stall a GPU.

    Raises:
        ValueError: Another label occurs.
    """
    if labels.device.type != "cpu" or labels.dtype == torch.bool:
        return
    known = labels if ignore is None else labels[labels != ignore]
    if not known.numel():
        return
    low, high, top = int(known.min()), int(known.max()), 1 if sigmoid else classes - 1
    if low < 0 or high > top:
        what = "Masks of regions" if sigmoid else "Labels"
        raise ValueError(f"{what} go from {low} to {high}, but here they may go from 0 to {top}.")


def _work_type(logits: Tensor) -> torch.dtype:
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


def _stretches(logits: Tensor) -> Iterator[tuple[int, slice]]:
    batch, classes, voxels = logits.shape
    step = max(1, _STRETCH.get(logits.device.type, _STRETCH_ELSEWHERE) // max(classes, 1))
    for sample in range(batch):
        for start in range(0, voxels, step):
            yield sample, slice(start, start + step)


def _target(labels: Tensor, classes: int, *, sigmoid: bool, ignore: int | None) -> tuple[Tensor, Tensor]:
    """One-hot labels (C, v) and which voxels count, (1, v) or (C, v), both boolean."""
    mask = torch.ones_like(labels, dtype=torch.bool) if ignore is None else labels != ignore
    if sigmoid:
        return (labels != 0) & mask, mask
    numbers = torch.arange(classes, device=labels.device).unsqueeze(1)
    return (labels == numbers) & mask, mask.unsqueeze(0)

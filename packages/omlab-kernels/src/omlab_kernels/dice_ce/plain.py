"""The sums and their gradient in plain PyTorch, some voxels at a time: the gradient is the only large buffer."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

_STRETCH = {"cpu": 1 << 17}  # logits in one stretch: what a core's cache holds
_LEAST = {kind: torch.finfo(kind).min for kind in (torch.float32, torch.float64)}
_STRETCH_ELSEWHERE = 1 << 24


def class_sums(
    logits: Tensor, labels: Tensor, sigmoid: bool, squared: bool, gamma: float | None, ignore: int | None,
    smoothed: bool,
) -> Tensor:  # fmt: skip
    """`naive.class_sums` in float32 (float64 for float64 logits). `logits` (B, C, V), `labels` (B, V) or (B, C, V).

    The sum over every class's -log p is what label smoothing takes; it is 0 unless `smoothed`.
    """
    batch, classes = logits.shape[:2]
    dtype = _work_type(logits)
    sums = torch.zeros(6, batch, classes, dtype=torch.float64, device=logits.device)
    for sample, part in _stretches(logits):
        z = logits[sample, :, part].to(dtype)
        target, mask = _target(labels[sample, ..., part], classes, z, sigmoid=sigmoid, ignore=ignore)
        if sigmoid:
            p = z.sigmoid()
            entropy = (functional.softplus(z) - torch.where(target != 0, z, 0)).mul_(_all(mask)).sum(1)
        else:
            logs = z.log_softmax(0).clamp_min_(_LEAST[dtype])  # of a class that is excluded: so that 0 times it is 0
            p = logs.exp()
            if mask is not None:
                logs.mul_(mask)
            entropy = -(target * logs).sum(1)
        if mask is not None:
            p.mul_(mask)
        rows = {0: (target * p).sum(1), 1: (p * p if squared else p).sum(1), 2: target.sum(1), 3: entropy}
        if smoothed and not sigmoid:
            rows[4] = -logs.sum(1)
        if gamma is not None:
            u = torch.where(target != 0, z, -z)
            focal = -(gamma * functional.logsigmoid(-u)).exp() * functional.logsigmoid(u)
            rows[5] = focal.mul_(_all(mask)).sum(1)
        for row, value in rows.items():
            sums[row, sample] += value
    return sums.to(dtype)


def class_sums_backward(
    slopes: Tensor, logits: Tensor, labels: Tensor,
    sigmoid: bool, squared: bool, gamma: float | None, ignore: int | None, smoothed: bool,
) -> Tensor:  # fmt: skip
    """The gradient by `logits` (B, C, V), given the slopes (6, B, C) of the sums.

    With q = dL/dp and a = dL/dlog p of each class and t = p q + a: dL/dz = t - p sum(t) for the softmax.
    """
    classes = logits.shape[1]
    dtype = _work_type(logits)
    gradient = torch.empty_like(logits)
    for sample, part in _stretches(logits):
        z = logits[sample, :, part].to(dtype)
        target, mask = _target(labels[sample, ..., part], classes, z, sigmoid=sigmoid, ignore=ignore)
        overlap, size, _, entropy, every, focal = slopes[:, sample].to(dtype).unsqueeze(2)
        p = z.sigmoid() if sigmoid else z.softmax(0)
        q = torch.addcmul(2 * p * size if squared else size, target, overlap)
        if sigmoid:
            slope = p * (1 - p) * q + entropy * (p - target)
        else:
            t = q.mul_(p).addcmul_(target, entropy, value=-1)
            if smoothed:
                t.sub_(every)
            slope = t.addcmul_(p, t.sum(0, keepdim=True), value=-1)
        if gamma is not None:
            sign = target * 2 - 1
            u = z * sign
            right = u.sigmoid()
            rest = (gamma * functional.logsigmoid(-u)).exp()
            slope = slope + focal * sign * rest * (gamma * right * functional.logsigmoid(u) - (1 - right))
        gradient[sample, :, part] = slope if mask is None else slope.mul_(mask)
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
    low, high = (int(end) for end in known.aminmax())
    top = 1 if sigmoid else classes - 1
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


def _target(
    labels: Tensor, classes: int, like: Tensor, *, sigmoid: bool, ignore: int | None
) -> tuple[Tensor, Tensor | None]:
    """One-hot labels (C, v) and which voxels count, (1, v) or (C, v), None: all do; 0 and 1 in the type of `like`.

    Comparisons into numbers, and products with them, take a fraction of the time of booleans and `where`.
    """
    if sigmoid:
        target = (labels != 0).to(like)
    else:
        numbers = torch.arange(classes, device=labels.device, dtype=like.dtype).unsqueeze(1)
        target = torch.eq(labels.to(like.dtype).unsqueeze(0), numbers, out=torch.empty_like(like))
    if ignore is None:
        return target, None
    mask = (labels != ignore).to(like)
    mask = mask if sigmoid else mask.unsqueeze(0)
    return target.mul_(mask), mask


def _all(mask: Tensor | None) -> Tensor | float:
    return 1.0 if mask is None else mask

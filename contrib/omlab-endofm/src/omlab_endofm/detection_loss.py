"""The loss of the detector's two stages for the boxes of one frame, as STFT's: FCOS's, and that of boxes moved again.

Focal losses (Lin et al. 2017), GIoU (Rezatofighi et al. 2019) and centerness (Tian et al., FCOS, 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import box_iou, generalized_box_iou_loss, sigmoid_focal_loss  # type: ignore[import-untyped]

from omlab_endofm.boxes import REACH
from omlab_endofm.detection import Level, locations

_RADIUS = 1.5  # of the middle of a box in which locations answer for it, in strides
_LIMIT = 8  # how far the farthest side of a box of a level may be, in strides
_OVERLAP = 0.1  # of a first-stage box with a true one, from which the second stage answers for it
_BETA = 0.11


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The boxes of a frame: corners (N, 4) as left, top, right, bottom in pixels, and classes (N,) from 0."""

    corners: Tensor
    classes: Tensor


def detection_loss(levels: Sequence[Level], truth: Truth, *, strides: Sequence[int]) -> dict[str, Tensor]:
    """The five parts, whose sum is minimised."""
    flat = [
        torch.cat([part.float().flatten(2)[0].T for part in parts])
        for parts in (
            [level.logits for level in levels],
            [level.centerness for level in levels],
            [level.second_logits for level in levels],
            [level.deltas for level in levels],
        )
    ]
    logits, centerness, second, deltas = flat
    boxes = torch.cat([level.boxes[0].float() for level in levels])
    return first_stage(logits, centerness[:, 0], boxes, assigned(levels, truth, strides=strides), truth) | second_stage(
        second, deltas, boxes.detach(), truth
    )


def assigned(levels: Sequence[Level], truth: Truth, *, strides: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Which box each location answers for, (L,), -1 for none; and its distances to that box's sides, (L, 4).

    A location answers for the smallest of the boxes that it is near the middle of, and whose farthest side is as far
    as its level is for: from 4 to 8 strides, on the finest level from 0, on the coarsest without an end.
    """
    found, sides = [], []
    corners = truth.corners
    middles, areas = (corners[:, :2] + corners[:, 2:]) / 2, (corners[:, 2:] - corners[:, :2]).prod(dim=1)
    for number, (level, stride) in enumerate(zip(levels, strides, strict=True)):
        where = locations(*level.logits.shape[2:], stride=stride, like=corners).flatten(1).T
        to_sides = torch.cat([where[:, None] - corners[:, :2], corners[:, 2:] - where[:, None]], dim=2)  # (L, N, 4)
        farthest = to_sides.amax(dim=2)
        least = 0 if number == 0 else _LIMIT * strides[number - 1]
        most = float("inf") if number == len(strides) - 1 else _LIMIT * stride
        near = ((where[:, None] - middles).abs() < _RADIUS * stride).all(dim=2)
        fits = near & (to_sides.amin(dim=2) > 0) & (farthest >= least) & (farthest <= most)
        if not len(corners):
            found.append(fits.new_full((len(where),), -1, dtype=torch.long))
            sides.append(to_sides.new_zeros(len(where), 4))
            continue
        area, box = torch.where(fits, areas, float("inf")).min(dim=1)
        found.append(torch.where(area.isfinite(), box, -1))
        sides.append(to_sides[torch.arange(len(where)), box])
    return torch.cat(found), torch.cat(sides)


def first_stage(
    logits: Tensor, centerness: Tensor, boxes: Tensor, answers: tuple[Tensor, Tensor], truth: Truth
) -> dict[str, Tensor]:
    """Of logits (L, K), centerness (L,) and boxes (L, 4): `class_loss`, `box_loss` and `centerness_loss`."""
    box, sides = answers
    there = box >= 0
    across, down = sides[there][:, 0::2], sides[there][:, 1::2]
    central = (across.amin(1) / across.amax(1) * down.amin(1) / down.amax(1)).sqrt()
    overlap = generalized_box_iou_loss(boxes[there], truth.corners[box[there]])
    measured = functional.binary_cross_entropy_with_logits(centerness[there], central, reduction="sum")
    count = there.sum().clamp(min=1)
    return {
        "class_loss": _focal(logits, box, truth, count),
        "box_loss": (overlap * central).sum() / central.sum().clamp(min=1e-6),
        "centerness_loss": measured / count,
    }


def second_stage(logits: Tensor, deltas: Tensor, boxes: Tensor, truth: Truth) -> dict[str, Tensor]:
    """Of logits (L, K) and deltas (L, 4) for first-stage boxes (L, 4): `second_class_loss` and `second_box_loss`."""
    box = logits.new_full((len(logits),), -1, dtype=torch.long)
    if len(truth.corners):
        overlap, best = box_iou(boxes, truth.corners).max(dim=1)
        box = torch.where(overlap >= _OVERLAP, best, -1)
    there = box >= 0
    base = boxes[there]
    reach = REACH * (base[:, 2:] - base[:, :2]).repeat(1, 2)
    wanted = (truth.corners[box[there]] - base) / reach
    moved = functional.smooth_l1_loss(deltas[there], wanted, beta=_BETA, reduction="sum")
    count = there.sum().clamp(min=1)
    return {"second_class_loss": _focal(logits, box, truth, count), "second_box_loss": moved / count}


def _focal(logits: Tensor, box: Tensor, truth: Truth, count: Tensor) -> Tensor:
    wanted = torch.zeros_like(logits)
    there = box >= 0
    wanted[there, truth.classes[box[there]]] = 1
    loss: Tensor = sigmoid_focal_loss(logits, wanted, alpha=0.25, gamma=2, reduction="sum") / count
    return loss

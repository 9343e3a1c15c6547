"""From what the detector's head says to boxes: scores of both stages, boxes moved by the second, overlaps removed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image  # type: ignore[import-untyped]

from omlab_endofm.detection import Level

LEAST = 0.05
"""Of the first stage's score, below which a location is left out."""
REACH = 0.5
"""Of a box's sides, by which a delta of 1 moves it."""
_OF_A_LEVEL = 1000
_KEPT = 300
_OVERLAP = 0.6


def found(levels: Sequence[Level], *, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (N, 4) as left, top, right, bottom in pixels of an image of `size` (rows, columns), scores, classes."""
    parts = [_of_level(level) for level in levels]
    boxes, scores, classes = (torch.cat(part) for part in zip(*parts, strict=True))
    boxes = clip_boxes_to_image(boxes, size)
    there = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)  # the second stage may turn a box inside out, or move it away
    boxes, scores, classes = boxes[there], scores[there], classes[there]
    kept = batched_nms(boxes, scores, classes, _OVERLAP)[:_KEPT]
    return boxes[kept], scores[kept], classes[kept]


def _of_level(level: Level) -> tuple[Tensor, Tensor, Tensor]:
    first = (level.logits.sigmoid() * level.centerness.sigmoid()).sqrt()[0].flatten(1).T  # (h w, K)
    second = level.second_logits.sigmoid()[0].flatten(1).T
    deltas = level.deltas[0].flatten(1).T
    scores, places = torch.where(first > LEAST, first, 0).flatten().topk(min(_OF_A_LEVEL, first.numel()))
    places = places[scores > 0]
    where, classes = places // first.shape[1], places % first.shape[1]
    base = level.boxes[0, where]
    moved = base + deltas[where] * REACH * (base[:, 2:] - base[:, :2]).repeat(1, 2)
    return moved, (first[where, classes] * second[where, classes]).sqrt(), classes

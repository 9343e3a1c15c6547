"""Prompts of many objects in rounds: a box or a mask first, then one click more in each round.

Each round after the first has the mask of the round before as its mask prompt, and all clicks so far. Objects whose
prompts are of one form go through the decoder together, whichever images they lie in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from omlab_sam.network import Sam, best_mask

MaskPrompt = Callable[[Tensor], Tensor]
"""From low-resolution logits to the mask prompt that the weights were trained with."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """What is asked of one object in one image, in pixels that the network sees.

    Attributes:
        points: (n, 2) x, y, in the order in which they were set.
        labels: (n,) 1 in the object, 0 outside it.
        box: (4,) x0, y0, x1, y1.
        mask: (4S, 4S) low-resolution logits that a first round begins with: those of the neighbouring slice.
    """

    points: Tensor
    labels: Tensor
    box: Tensor | None = None
    mask: Tensor | None = None

    @property
    def begins(self) -> bool:
        """Whether there is a round before the first click."""
        return self.box is not None or self.mask is not None


class Answered(NamedTuple):
    """What N objects came to, float32 on the network's device.

    Attributes:
        logits: (N, 4S, 4S), low-resolution.
        ious: (N,), the IoU that the network predicts for each: what it was trained to, and no more; not held to 0..1.
    """

    logits: Tensor
    ious: Tensor


def answer(
    sam: Sam, embeddings: Sequence[Tensor], asked: Sequence[Asked], *, mask_prompt: MaskPrompt, multimask: bool
) -> Answered:
    """What N objects come to after all their rounds.

    Args:
        sam: In eval mode.
        embeddings: For each object that of its image, (1, C, S, S).
        asked: For each object what is asked.
        mask_prompt: Sigmoid for SAM-Med2D, the identity for SAM.
        multimask: Whether each round keeps the mask of the highest predicted IoU of the three, not mask 0.

    Raises:
        ValueError: An object is asked for nothing.
    """
    if any(not one.begins and not len(one.points) for one in asked):
        raise ValueError("An object needs a box, a mask or a point.")
    side = 4 * sam.grid
    device = sam.mask_decoder.iou_token.weight.device
    lows, ious = torch.zeros(len(asked), side, side, device=device), torch.zeros(len(asked), device=device)
    rounds = [len(one.points) + one.begins for one in asked]
    with torch.inference_mode():
        for number in range(max(rounds, default=0)):
            alike: dict[tuple[int, bool, bool], list[int]] = {}
            for index, one in enumerate(asked):
                if number < rounds[index]:
                    count = number + 1 - one.begins
                    key = (count, one.box is not None and not number, one.mask is not None or bool(number))
                    alike.setdefault(key, []).append(index)
            for (count, has_box, has_mask), members in alike.items():
                given = [asked[index] for index in members]
                masks = lows[members] if number else [one.mask for one in given if one.mask is not None]
                low, iou = sam.decode(
                    _embeddings([embeddings[index] for index in members]),
                    points=torch.stack([one.points[:count] for one in given]).to(device) if count else None,
                    labels=torch.stack([one.labels[:count] for one in given]).to(device) if count else None,
                    boxes=torch.stack([one.box for one in given if one.box is not None]).to(device)
                    if has_box
                    else None,
                    masks=mask_prompt(torch.stack(list(masks)).to(device))[:, None] if has_mask else None,
                    multimask=multimask,
                )
                best, predicted = best_mask(low, iou)
                lows[members], ious[members] = best[:, 0].float(), predicted[:, 0].float()
    return Answered(lows, ious)


def _embeddings(parts: Sequence[Tensor]) -> Tensor:
    """One image's for all, or one for each."""
    return parts[0] if all(part is parts[0] for part in parts) else torch.cat(list(parts))

"""The ten views of a clip that pre-training compares: which frames each has, and in which batches they go.

DINO's method (Caron et al. 2021) on views that differ in place and in time (Ranasinghe et al., SVT, CVPR 2022); its
head, centre and schedules are `omlab_train.distillation`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from omlab_video.sampling import Indices, spread

GLOBAL_FRAMES = (8, 16)
LOCAL_FRAMES = (2, 2, 4, 4, 8, 8, 16, 16)
_MARGIN = 5  # frames that a global view leaves out at the end, and the other one at the start


def global_frames(frames: int) -> list[Indices]:
    """The frames of the two global views of a clip."""
    first, second = GLOBAL_FRAMES
    return [
        spread(0, frames - _MARGIN, count=first, frames=frames),
        spread(_MARGIN, frames, count=second, frames=frames),
    ]


def local_width(frames: int) -> int:
    """How far apart the first and the last frame of a local view are."""
    return frames // 8


def last_start(frames: int) -> int:
    """The last frame at which a local view may start."""
    return max(0, frames - local_width(frames) - 1)


def local_frames(start: int, *, count: int, frames: int) -> Indices:
    """The frames of a local view."""
    return spread(start, start + local_width(frames), count=count, frames=frames)


def grouped(views: Sequence[Tensor]) -> list[Tensor]:
    """Views (B, 3, T, H, W), neighbours of one shape in one batch: what the backbone is called with, in their order."""
    calls: list[list[Tensor]] = []
    for view in views:
        if calls and calls[-1][0].shape[1:] == view.shape[1:]:
            calls[-1].append(view)
        else:
            calls.append([view])
    return [torch.cat(call) for call in calls]

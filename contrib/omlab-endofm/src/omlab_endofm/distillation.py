"""What pre-training compares: the head, the frames of ten views, the teacher's temperature, schedules, clipping.

DINO's method (Caron et al. 2021) on views of a clip that differ in place and in time (Ranasinghe et al., SVT, 2022).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab_endofm.backbone import SPREAD
from omlab_video.sampling import Indices, spread

GLOBAL_FRAMES = (8, 16)
LOCAL_FRAMES = (2, 2, 4, 4, 8, 8, 16, 16)
_MARGIN = 5  # frames that a global view leaves out at the end, and the other one at the start


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """The projection head: an MLP D -> hidden -> hidden -> bottleneck, and `outputs` directions to compare with."""

    outputs: int = 65536
    hidden: int = 2048
    bottleneck: int = 256


class Directions(nn.Module):
    """A linear layer without bias whose rows have the length `weight_g`, which is 1 and does not learn."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(outputs, 1), requires_grad=False)
        self.weight_v = nn.Parameter(nn.init.trunc_normal_(torch.empty(outputs, width), std=SPREAD))

    def forward(self, x: Tensor, *, frozen: bool = False) -> Tensor:
        """(N, D) -> (N, K); frozen: no gradient goes to the directions."""
        directions = self.weight_v.detach() if frozen else self.weight_v
        return functional.linear(x, self.weight_g * functional.normalize(directions, dim=1))


class ProjectionHead(nn.Module):
    """Logits of features, (N, D) -> (N, K)."""

    def __init__(self, width: int, config: HeadConfig) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(width, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.bottleneck),
        )
        self.last_layer = Directions(config.bottleneck, config.outputs)
        for layer in (one for one in self.mlp if isinstance(one, nn.Linear)):
            nn.init.trunc_normal_(layer.weight, std=SPREAD)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor, *, frozen: bool = False) -> Tensor:
        """The logits; frozen: no gradient goes to the last layer."""
        logits: Tensor = self.last_layer(functional.normalize(self.mlp(features), dim=1), frozen=frozen)
        return logits


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


def teacher_temperature(epoch: int, *, first: float, last: float, warmup: int) -> float:
    """From `first` to `last` on a straight line over the warm-up's epochs, its last one included; then `last`."""
    if epoch >= warmup - 1:
        return last if epoch >= warmup or warmup > 1 else first
    return first + (last - first) * epoch / (warmup - 1)


def cosine_schedule(step: int, *, first: float, last: float, steps: int, warmup: int = 0, start: float = 0.0) -> float:
    """From `start` to `first` on a straight line over the warm-up, then half a cosine towards `last`."""
    if step < warmup:
        return start + (first - start) * step / max(1, warmup - 1)
    share = (step - warmup) / max(1, steps - warmup)
    return last + 0.5 * (first - last) * (1 + math.cos(math.pi * share))


@torch.no_grad()
def clip_each(parameters: Iterable[nn.Parameter], *, norm: float) -> None:
    """Shorten the gradient of each parameter by itself to at most `norm`."""
    for parameter in parameters:
        if parameter.grad is not None:
            torch.nn.utils.clip_grad_norm_([parameter], norm)


@torch.no_grad()
def updated_center(center: Tensor, teacher: Tensor, *, momentum: float) -> Tensor:
    """The next centre: momentum center + (1 - momentum) mean of the teacher's logits (T, B, K)."""
    return torch.lerp(teacher.float().mean(dim=(0, 1)).to(center.dtype), center, momentum)

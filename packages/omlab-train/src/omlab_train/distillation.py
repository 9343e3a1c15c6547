"""Self-distillation, as DINO does it: the head that is compared, the centre, schedules, a teacher without gradients.

Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021. The loss itself is
`omlab_kernels.self_distillation`; what the views are is each model's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

_SPREAD = 0.02


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
        self.weight_v = nn.Parameter(nn.init.trunc_normal_(torch.empty(outputs, width), std=_SPREAD))

    def forward(self, x: Tensor, *, frozen: bool = False) -> Tensor:
        """(N, D) -> (N, K); frozen: no gradient goes to the directions."""
        directions = self.weight_v.detach() if frozen else self.weight_v
        return functional.linear(x, self.weight_g * functional.normalize(directions, dim=1))


class ProjectionHead(nn.Module):
    """Logits of features, (N, D) -> (N, K): with lengths of 1 they are cosines."""

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
            nn.init.trunc_normal_(layer.weight, std=_SPREAD)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor, *, frozen: bool = False) -> Tensor:
        """The logits; frozen: no gradient goes to the last layer."""
        logits: Tensor = self.last_layer(functional.normalize(self.mlp(features), dim=1), frozen=frozen)
        return logits


def with_buffers(network: nn.Module) -> None:
    """Make buffers of the same names of all parameters of a network."""
    for module in network.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach())


@torch.no_grad()
def updated_center(center: Tensor, teacher: Tensor, *, momentum: float) -> Tensor:
    """The next centre: momentum center + (1 - momentum) mean of the teacher's logits (T, B, K), over all processes."""
    mean = teacher.float().mean(dim=(0, 1))
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(mean)
        mean /= distributed.get_world_size()
    return torch.lerp(mean.to(center.dtype), center, momentum)


def teacher_temperature(epoch: int, *, first: float, last: float, warmup: int) -> float:
    """From `first` to `last` on a straight line over the warm-up's epochs, its last one included; then `last`."""
    if epoch >= warmup - 1:
        return last if epoch >= warmup or warmup > 1 else first
    return first + (last - first) * epoch / (warmup - 1)


def cosine_schedule(step: int, *, first: float, last: float, steps: int, warmup: int = 0, start: float = 0.0) -> float:
    """From `start` to `first` on a straight line over the warm-up, then half a cosine to `last`.

    The warm-up's last step has `first`; `last` is what the step after the end would have.
    """
    if step < warmup:
        return start + (first - start) * step / max(1, warmup - 1)
    share = (step - warmup) / max(1, steps - warmup)
    return last + 0.5 * (first - last) * (1 + math.cos(math.pi * share))

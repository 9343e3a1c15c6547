"""Self-distillation: a student learns to say of any view of an image what its slowly following teacher says of others.

BROW's own pre-training was not published; this is the method that its authors say theirs was adapted from (Caron et
al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021), with two options of ours for what BROW's
paper names without constants: shuffled tiles, and a view of the surroundings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from omlab_brow.vit import SPREAD, Brow, VitConfig
from omlab_kernels import self_distillation

Views = Mapping[str, Tensor]
"""`global` (B, G, 3, S, S) for both networks, `local` (B, L, 3, s, s) for the student, `scale` for the teacher."""


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


class Head(nn.Module):
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
            nn.init.trunc_normal_(layer.weight, std=SPREAD)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor, *, frozen: bool = False) -> Tensor:
        """The logits; frozen: no gradient goes to the last layer."""
        logits: Tensor = self.last_layer(functional.normalize(self.mlp(features), dim=1), frozen=frozen)
        return logits


class Tower(nn.Module):
    """An encoder with its head."""

    def __init__(self, config: VitConfig, head: HeadConfig) -> None:
        super().__init__()
        self.backbone = Brow(config)
        self.head = Head(config.width, head)

    def forward(self, views: Sequence[Tensor], *, frozen: bool = False) -> Tensor:
        """Logits (V, B, K) of views (B, V_n, 3, s_n, s_n), each resolution in one pass and all in one of the head."""
        batch = len(views[0])
        features = [self.backbone.features(some.transpose(0, 1).flatten(0, 1)) for some in views]
        logits: Tensor = self.head(torch.cat(features), frozen=frozen)
        return logits.view(-1, batch, logits.shape[1])


class StudentTeacher(nn.Module):
    """Both networks by the names of published checkpoints; the teacher begins as the student, and has no gradients.

    The teacher's tensors are buffers: they are saved with the rest, and no optimizer finds them.
    """

    def __init__(self, config: VitConfig, *, head: HeadConfig) -> None:
        super().__init__()
        self.config, self.head = config, head
        self.student = Tower(config, head)
        teacher = Tower(replace(config, drop_path=0.0), head)
        teacher.load_state_dict(self.student.state_dict())
        with_buffers(teacher)
        self.teacher = teacher

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, D): the teacher's, which are the better ones."""
        return self.teacher.backbone.features(images)

    @torch.no_grad()
    def follow(self, momentum: float) -> None:
        """Set the teacher to momentum teacher + (1 - momentum) student."""
        student = dict(self.student.named_parameters())
        for name, tensor in self.teacher.named_buffers():
            tensor.lerp_(student[name].to(tensor.dtype), 1 - momentum)


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a step of training is done with.

    Attributes:
        teacher_temperature: Of this epoch.
        momentum: What the teacher keeps of itself as it follows the step before; None: it stays.
        frozen: Whether the last layer stays as it is.
    """

    teacher_temperature: float
    momentum: float | None = None
    frozen: bool = False


class SelfDistillation(StudentTeacher):
    """Both networks with what their training needs: `module(views, generator, step)` gives (loss, parts).

    Attributes:
        student_temperature: What the student's logits are divided by.
        center_momentum: What the centre keeps of itself.
        shuffle: Tiles of a side in which the student's global views are shuffled; 0: they are not.
    """

    center: Tensor

    def __init__(self, config: VitConfig, *, head: HeadConfig) -> None:
        super().__init__(config, head=head)
        self.register_buffer("center", torch.zeros(head.outputs))
        self.student_temperature, self.center_momentum, self.shuffle = 0.1, 0.9, 0

    def forward(self, views: Views, generator: torch.Generator, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch; in training the teacher follows first, and the centre afterwards."""
        if self.training and step.momentum is not None:
            self.follow(step.momentum)
        seen = [shuffled(views["global"], grid=self.shuffle, generator=generator), views["local"]]
        student = self.student([some for some in seen if some.shape[1]], frozen=step.frozen)
        with torch.no_grad():
            teacher = self.teacher([views["global"], *([views["scale"]] if "scale" in views else [])])
        loss = self_distillation(
            student,
            teacher,
            self.center.clone(),  # the one of before the step, for the backward pass too
            student_temperature=self.student_temperature,
            teacher_temperature=step.teacher_temperature,
            pairs=pairs_of(len(teacher), len(student), shared=views["global"].shape[1]).to(student.device),
        )
        if self.training:
            self.center.copy_(updated_center(self.center, teacher, momentum=self.center_momentum))
        return loss, {}


def with_buffers(network: nn.Module) -> None:
    """Make buffers of the same names of all parameters of a network."""
    for module in network.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach())


def pairs_of(of_teacher: int, views: int, *, shared: int) -> Tensor:
    """Which pairs count, (T, V): all but the same view of both networks, the first `shared` of each."""
    pairs = torch.ones(of_teacher, views)
    pairs[range(shared), range(shared)] = 0
    return pairs


@torch.no_grad()
def updated_center(center: Tensor, teacher: Tensor, *, momentum: float) -> Tensor:
    """The next centre: momentum center + (1 - momentum) mean of the teacher's logits (T, B, K), over all processes."""
    mean = teacher.float().mean(dim=(0, 1))
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(mean)
        mean /= distributed.get_world_size()
    return torch.lerp(mean.to(center.dtype), center, momentum)


def shuffled(views: Tensor, *, grid: int, generator: torch.Generator) -> Tensor:
    """Views (B, V, 3, S, S) with their grid x grid tiles in another order, drawn for each; 0: as they are.

    Raises:
        ValueError: The grid does not divide S.
    """
    if grid < 2:
        return views
    B, V, C, S, _ = views.shape
    if S % grid:
        raise ValueError(f"views of {S} pixels have no {grid} x {grid} tiles of the same size")
    tiles = views.reshape(B, V, C, grid, S // grid, grid, S // grid).permute(0, 1, 3, 5, 2, 4, 6).flatten(2, 3)
    order = torch.rand(B, V, grid * grid, generator=generator, device=views.device).argsort(dim=2)
    moved = tiles.gather(2, order[..., None, None, None].expand_as(tiles)).view(B, V, grid, grid, *tiles.shape[3:])
    return moved.permute(0, 1, 4, 2, 5, 3, 6).reshape(views.shape)


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

"""Self-distillation: a student learns to say of any view of an image what its slowly following teacher says of others.

BROW's own pre-training was not published; this is the method that its authors say theirs was adapted from (Caron et
al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021), with two options of ours for what BROW's
paper names without constants: shuffled tiles, and a view of the surroundings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from omlab_brow.vit import Brow, VitConfig
from omlab_kernels import self_distillation
from omlab_train.distillation import HeadConfig, ProjectionHead, updated_center, with_buffers

Views = Mapping[str, Tensor]
"""`global` (B, G, 3, S, S) for both networks, `local` (B, L, 3, s, s) for the student, `scale` for the teacher."""


class Tower(nn.Module):
    """An encoder with its head."""

    def __init__(self, config: VitConfig, head: HeadConfig) -> None:
        super().__init__()
        self.backbone = Brow(config)
        self.head = ProjectionHead(config.width, head)

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


def pairs_of(of_teacher: int, views: int, *, shared: int) -> Tensor:
    """Which pairs count, (T, V): all but the same view of both networks, the first `shared` of each."""
    pairs = torch.ones(of_teacher, views)
    pairs[range(shared), range(shared)] = 0
    return pairs


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

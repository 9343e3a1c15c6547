"""A student and the teacher that follows it: the two networks of self-distillation, and how a step is done with them.

    class Images(SelfDistiller):
        def forward(self, views, generator, step):
            self.begin(step)
            student = self.student(views, frozen=step.frozen)
            return self.compared(student, self.taught(views[:2]), step), {}

Caron et al., Emerging Properties in Self-Supervised Vision Transformers (DINO), ICCV 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from omlab_kernels import self_distillation
from omlab_train.distillation import HeadConfig, ProjectionHead, updated_center, with_buffers


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


def grouped(views: Sequence[Tensor]) -> list[Tensor]:
    """Views (B, ...), neighbours of one shape in one batch: what a backbone is called with, in their order."""
    calls: list[list[Tensor]] = []
    for view in views:
        if calls and calls[-1][0].shape[1:] == view.shape[1:]:
            calls[-1].append(view)
        else:
            calls.append([view])
    return [torch.cat(call) for call in calls]


class Tower(nn.Module):
    """A network that gives features (N, D) of a batch, with its head."""

    def __init__(self, backbone: nn.Module, head: ProjectionHead) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, views: Sequence[Tensor], *, frozen: bool = False) -> Tensor:
        """Logits (V, B, K) of V views (B, ...): neighbours of one shape in one pass, and all in one of the head."""
        features = [self.backbone(call) for call in grouped(views)]
        logits: Tensor = self.head(torch.cat(features), frozen=frozen)
        return logits.view(len(views), len(views[0]), -1)


class StudentTeacher(nn.Module):
    """Both networks by the names of published checkpoints; the teacher begins as the student, and has no gradients.

    The teacher's tensors are buffers: they are saved with the rest, and no optimizer finds them.

    Args:
        student: The backbone that learns.
        teacher: Another of the same tensors, which are overwritten.
        width: Of their features.
        head: Of the heads of both.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module, *, width: int, head: HeadConfig) -> None:
        super().__init__()
        self.head = head
        self.student, self.teacher = (Tower(one, ProjectionHead(width, head)) for one in (student, teacher))
        self.teacher.load_state_dict(self.student.state_dict())
        with_buffers(self.teacher)

    @torch.no_grad()
    def follow(self, momentum: float) -> None:
        """Set the teacher to momentum teacher + (1 - momentum) student."""
        student = dict(self.student.named_parameters())
        for name, tensor in self.teacher.named_buffers():
            tensor.lerp_(student[name].to(tensor.dtype), 1 - momentum)


class SelfDistiller(StudentTeacher):
    """Both networks with what their training needs.

    Attributes:
        student_temperature: What the student's logits are divided by.
        center_momentum: What the centre keeps of itself.
    """

    center: Tensor

    def __init__(self, student: nn.Module, teacher: nn.Module, *, width: int, head: HeadConfig) -> None:
        super().__init__(student, teacher, width=width, head=head)
        self.register_buffer("center", torch.zeros(head.outputs))
        self.student_temperature, self.center_momentum = 0.1, 0.9

    def begin(self, step: Step) -> None:
        """In training, let the teacher follow the step before."""
        if self.training and step.momentum is not None:
            self.follow(step.momentum)

    @torch.no_grad()
    def taught(self, views: Sequence[Tensor]) -> Tensor:
        """The teacher's logits of its views."""
        logits: Tensor = self.teacher(views)
        return logits

    def compared(self, student: Tensor, teacher: Tensor, step: Step, *, pairs: Tensor | None = None) -> Tensor:
        """The loss of logits (V, B, K) against (T, B, K), by default of all pairs but the same view of both.

        In training the centre follows afterwards.
        """
        loss = self_distillation(
            student,
            teacher,
            self.center.clone(),  # the one of before the step, for the backward pass too
            student_temperature=self.student_temperature,
            teacher_temperature=step.teacher_temperature,
            pairs=pairs,
        )
        if self.training:
            self.center.copy_(updated_center(self.center, teacher, momentum=self.center_momentum))
        return loss

"""What models that distil themselves share: cosines by the head, a centre that follows, schedules with their ends."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from omlab_train.distillation import (
    HeadConfig,
    ProjectionHead,
    cosine_schedule,
    teacher_temperature,
    updated_center,
    with_buffers,
)
from omlab_train.gradients import clip_each


def test_the_head_gives_cosines_and_can_leave_its_directions_alone() -> None:
    head = ProjectionHead(6, HeadConfig(outputs=9, hidden=8, bottleneck=4))
    features = torch.randn(5, 6)
    logits = head(features)
    assert logits.shape == (5, 9)
    assert logits.abs().max() <= 1 + 1e-6
    head(features, frozen=True).sum().backward()
    assert head.last_layer.weight_v.grad is None
    assert head.mlp[0].weight.grad is not None


def test_a_teacher_of_buffers_answers_as_before_and_has_nothing_to_learn() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2))
    x = torch.randn(2, 3)
    wanted, names = network(x).detach(), set(network.state_dict())
    with_buffers(network)
    assert torch.equal(network(x), wanted)
    assert not list(network.parameters())
    assert set(network.state_dict()) == names


def test_the_centre_follows_the_mean_of_the_teacher() -> None:
    teacher = torch.arange(12.0).reshape(2, 3, 2)
    center = updated_center(torch.zeros(2), teacher, momentum=0.9)
    torch.testing.assert_close(center, 0.1 * teacher.mean(dim=(0, 1)))


def test_schedules_begin_and_end_where_they_say() -> None:
    assert teacher_temperature(0, first=0.04, last=0.07, warmup=5) == 0.04
    assert teacher_temperature(4, first=0.04, last=0.07, warmup=5) == 0.07
    assert teacher_temperature(99, first=0.04, last=0.07, warmup=5) == 0.07
    values = [cosine_schedule(step, first=1.0, last=0.1, steps=20, warmup=5) for step in range(21)]
    assert values[0] == 0
    assert values[4] == 1
    assert values[20] == pytest.approx(0.1)
    assert values[4:] == sorted(values[4:], reverse=True)


def test_each_gradient_is_shortened_by_itself() -> None:
    long, short, none = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    long.grad, short.grad = torch.tensor([3.0, 4.0]), torch.tensor([0.3, 0.4])
    clip_each([long, short, none], norm=1.0)
    torch.testing.assert_close(long.grad, torch.tensor([0.6, 0.8]), rtol=1e-5, atol=0)
    torch.testing.assert_close(short.grad, torch.tensor([0.3, 0.4]), rtol=1e-5, atol=0)
    assert none.grad is None

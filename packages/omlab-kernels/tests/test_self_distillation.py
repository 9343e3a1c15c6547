"""`self_distillation` is its specification, in value and gradient, for any views, pairs and temperatures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from omlab_kernels import self_distillation
from omlab_kernels.distillation import naive, plain

Drawn = dict[str, Tensor]


def drawn(views: int, of_teacher: int, batch: int, outputs: int, *, seed: int, far: float = 1.0) -> Drawn:
    """Logits of both networks, a centre, and weights of pairs, in float64."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    return {
        "student": far * normal(views, batch, outputs),
        "teacher": far * normal(of_teacher, batch, outputs),
        "center": normal(outputs),
        "pairs": torch.rand(of_teacher, views, generator=draw, dtype=torch.float64) + 0.1,
    }


def both(found: Drawn, exact: Drawn, **temperatures: float) -> tuple[list[Tensor], list[Tensor]]:
    """Loss and gradient of ours for one draw, of the specification for the other."""
    ours, theirs = found["student"].detach().requires_grad_(), exact["student"].detach().requires_grad_()
    loss = self_distillation(ours, found["teacher"], found["center"], pairs=found["pairs"], **temperatures)
    wanted = naive.self_distillation(theirs, exact["teacher"], exact["center"], exact["pairs"], **temperatures)
    return [loss.detach(), *torch.autograd.grad(loss, ours)], [wanted.detach(), *torch.autograd.grad(wanted, theirs)]


SHAPES = {
    "views": st.integers(1, 5),
    "of_teacher": st.integers(1, 4),
    "batch": st.integers(1, 3),
    "outputs": st.integers(1, 70),
    "seed": st.integers(0, 1000),
}
TEMPERATURES = {"student_temperature": st.floats(0.05, 1.0), "teacher_temperature": st.floats(0.04, 1.0)}


@settings(max_examples=25, deadline=None)
@given(**SHAPES, **TEMPERATURES)
def test_it_is_the_specification(student_temperature: float, teacher_temperature: float, **shape: int) -> None:
    case = drawn(**shape)
    found, wanted = both(case, case, student_temperature=student_temperature, teacher_temperature=teacher_temperature)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(**SHAPES, **TEMPERATURES, far=st.sampled_from([0.01, 1.0, 20.0]))
def test_the_kernels_are_the_specification(
    interpreted: None, student_temperature: float, teacher_temperature: float, **shape: Any
) -> None:
    exact = {name: value.float().double() for name, value in drawn(**shape).items()}
    single = {name: value.float() for name, value in exact.items()}
    single["student"] = torch.stack([single["student"]] * 2, dim=3)[..., 0]  # outputs are not next to each other
    found, wanted = both(
        single, exact, student_temperature=student_temperature, teacher_temperature=teacher_temperature
    )
    for one, other in zip(found, wanted, strict=True):
        scale = max(1e-3, float(other.abs().max()))
        torch.testing.assert_close(one.double(), other, rtol=0, atol=2e-5 * scale)


def test_left_out_pairs_are_those_of_different_views(each_form: str) -> None:
    case = {name: value.float() for name, value in drawn(4, 2, 3, 50, seed=0).items()}
    pairs = torch.tensor([[0.0, 1, 1, 1], [1, 0, 1, 1]])
    temperatures = {"student_temperature": 0.1, "teacher_temperature": 0.07}
    found = self_distillation(case["student"], case["teacher"], case["center"], **temperatures)
    wanted = naive.self_distillation(case["student"], case["teacher"], case["center"], pairs, **temperatures)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_no_centre_is_one_of_zeros(each_form: str) -> None:
    case = {name: value.float() for name, value in drawn(3, 2, 2, 20, seed=1).items()}
    found = self_distillation(case["student"], case["teacher"])
    wanted = self_distillation(case["student"], case["teacher"], torch.zeros(20))
    assert torch.equal(found, wanted)


def test_several_programs_share_the_outputs_of_a_sample(interpreted: None) -> None:
    """With 4 views a program's tile has 512 outputs: 9,000 are shared out, and the last share is not whole."""
    exact = {name: value.float().double() for name, value in drawn(4, 2, 1, 9000, seed=2).items()}
    single = {name: value.float() for name, value in exact.items()}
    found, wanted = both(single, exact, student_temperature=0.1, teacher_temperature=0.04)
    torch.testing.assert_close([one.double() for one in found], wanted, rtol=1e-4, atol=1e-5)


def test_half_precision_is_summed_in_float32_and_its_gradient_is_in_its_type(each_form: str) -> None:
    half = {name: value.bfloat16() for name, value in drawn(3, 2, 2, 40, seed=3).items()}
    exact = {name: value.double() for name, value in half.items()}
    found, wanted = both(half, exact, student_temperature=0.5, teacher_temperature=0.5)
    assert (found[0].dtype, found[1].dtype) == (torch.float32, torch.bfloat16)
    torch.testing.assert_close(found[0].double(), wanted[0], rtol=1e-5, atol=1e-5)
    assert float((found[1].double() - wanted[1]).abs().max()) < 2**-7 * float(wanted[1].abs().max())


def test_the_plain_form_takes_a_few_samples_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    case = drawn(3, 2, 5, 30, seed=4)
    temperatures = {"student_temperature": 0.1, "teacher_temperature": 0.04}
    whole, _ = both(case, case, **temperatures)
    monkeypatch.setattr(plain, "_HELD", 2 * 3 * 30)
    parts, _ = both(case, case, **temperatures)
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-12)


def test_many_views_take_the_plain_form(interpreted: None) -> None:
    case = {name: value.float() for name, value in drawn(33, 5, 1, 8, seed=5).items()}
    found, wanted = both(case, case, student_temperature=0.1, teacher_temperature=0.1)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_the_teacher_gets_no_gradient(each_form: str) -> None:
    case = {name: value.float() for name, value in drawn(3, 2, 2, 10, seed=6).items()}
    leaves = {name: value.requires_grad_() for name, value in case.items() if name != "pairs"}
    self_distillation(**leaves).backward()
    assert leaves["student"].grad is not None
    assert leaves["teacher"].grad is leaves["center"].grad is None


def test_the_operator_is_one_of_pytorch(each_form: str) -> None:
    case = {name: value.float() for name, value in drawn(3, 2, 2, 10, seed=7).items()}
    student = case.pop("student").requires_grad_()
    torch.library.opcheck(torch.ops.omlab_kernels.self_distillation.default, (student, *case.values(), 0.1, 0.04))


@pytest.mark.parametrize(
    ("student", "teacher", "given_", "said"),
    [
        ((3, 2, 5), (2, 2, 4), {}, r"needed, not \(3, 2, 5\) and \(2, 2, 4\)"),
        ((3, 5), (2, 5), {}, r"Logits \(V, B, K\)"),
        ((3, 0, 5), (2, 0, 5), {}, r"needed, not \(3, 0, 5\)"),
        ((3, 2, 5), (2, 2, 5), {"center": torch.zeros(1, 5)}, r"5 outputs need a center \(5,\), not \(1, 5\)"),
        ((3, 2, 5), (2, 2, 5), {"pairs": torch.ones(3, 2)}, r"need pairs \(2, 3\), not \(3, 2\)"),
        ((3, 2, 5), (2, 2, 5), {"teacher_temperature": 0.0}, r"above 0, not 0.1 and 0.0"),
        ((1, 2, 5), (1, 2, 5), {}, r"makes no pair"),
    ],
)
def test_what_does_not_fit_is_named(
    student: tuple[int, ...], teacher: tuple[int, ...], given_: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        self_distillation(torch.zeros(student), torch.zeros(teacher), **given_)

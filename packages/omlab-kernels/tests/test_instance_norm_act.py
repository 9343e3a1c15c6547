"""`instance_norm_act` against the naive form in float64: output and every gradient, in both memory layouts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omlab_kernels import instance_norm_act
from omlab_kernels.norm_act import naive, op

ACTIVATIONS = ["none", "relu", "leaky_relu", "gelu"]
Case = dict[str, Tensor]


def case(shape: tuple[int, ...], *, dtype: torch.dtype = torch.float32, residual: bool = True) -> Case:
    torch.manual_seed(sum(shape))
    made = {"x": 2 * torch.randn(shape) + 3, "weight": torch.rand(shape[1]) + 0.5, "bias": torch.randn(shape[1])}
    if residual:
        made["residual"] = torch.randn(shape)
    return {name: tensor.to(dtype) for name, tensor in made.items()}


def compare(given: Case, *, tolerance: float, **options: Any) -> None:
    found = {name: tensor.detach().requires_grad_() for name, tensor in given.items()}
    exact = {name: tensor.detach().double().requires_grad_() for name, tensor in given.items()}
    got = instance_norm_act(**found, **options)
    wanted = naive.instance_norm_act(**exact, **options)
    gradient = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1)).to(got)
    by_found = torch.autograd.grad(got, list(found.values()), gradient)
    by_exact = torch.autograd.grad(wanted, list(exact.values()), gradient.double())
    # The gradient by x is a difference of terms of this size: all of it in a channel of two almost equal voxels.
    spread = given["x"].double().flatten(2).var(2, correction=0) + 1e-5
    terms = float(gradient.abs().max() * spread.rsqrt().max()) if spread.numel() else 0.0
    for place, (one, other, like) in enumerate(
        zip((got, *by_found), (wanted, *by_exact), (given["x"], *given.values()), strict=True)
    ):
        assert one.dtype == like.dtype
        error = (one.double() - other).detach().abs().max()
        assert error <= tolerance * max(1.0, float(other.detach().abs().max()), terms if place == 1 else 0.0)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(1, 1, 2), (2, 3, 5, 7), (1, 9, 3, 5, 9)])
def test_output_and_gradients(each_form: str, shape: tuple[int, ...], activation: str, residual: bool) -> None:
    compare(case(shape, residual=residual), tolerance=2e-5, activation=activation)


@pytest.mark.parametrize("channels", [1, 5, 70])
def test_channels_last(each_form: str, channels: int) -> None:
    given = case((2, channels, 3, 4, 5))
    last = {name: t.to(memory_format=torch.channels_last_3d) if t.ndim == 5 else t for name, t in given.items()}
    out = instance_norm_act(**last)
    assert out.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(out, instance_norm_act(**given))
    compare(last, tolerance=2e-5)
    compare({**last, "residual": given["residual"]}, tolerance=2e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 3e-2), (torch.float16, 3e-3)])
def test_half_precision(each_form: str, dtype: torch.dtype, tolerance: float) -> None:
    compare(case((2, 3, 40), dtype=dtype), tolerance=tolerance, activation="gelu")


def test_float64_is_exact() -> None:
    compare(case((2, 3, 4, 5), dtype=torch.float64), tolerance=1e-12, activation="gelu")


def test_agrees_with_pytorch(each_form: str) -> None:
    given = case((2, 4, 3, 5, 4))
    norm = torch.nn.functional.instance_norm(given["x"], weight=given["weight"], bias=given["bias"])
    wanted = torch.nn.functional.leaky_relu(norm + given["residual"], 0.01)
    torch.testing.assert_close(instance_norm_act(**given), wanted)


def test_holes_and_large_mean(each_form: str) -> None:
    given = case((2, 3, 6, 4, 12))
    given = {name: t[:, :, ::2, :, 1::2] if t.ndim == 5 else t for name, t in given.items()}
    compare(given, tolerance=2e-5)
    far = {"x": given["x"] + 1000}
    exact = naive.instance_norm_act(far["x"].double())
    torch.testing.assert_close(instance_norm_act(**far).double(), exact, rtol=1e-3, atol=1e-3)


def test_constant_channel(each_form: str) -> None:
    x = torch.full((1, 2, 9), 7.0, requires_grad=True)
    out = instance_norm_act(x)
    out.sum().backward()  # type: ignore[no-untyped-call]
    assert torch.equal(out, torch.zeros_like(out))
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("voxels", [2049, 16 * 1024 + 3])
def test_several_tiles_of_a_program_and_several_programs(each_form: str, voxels: int, residual: bool) -> None:
    compare(case((2, 2, voxels), residual=residual), tolerance=2e-5)


@pytest.mark.usefixtures("interpreted")
def test_small_levels_take_one_launch_in_each_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    from omlab_kernels.norm_act import triton

    def launches(shape: tuple[int, ...], *, last: bool = False) -> list[str]:
        names: list[str] = []
        for name in [name for name in vars(triton) if name.endswith("_kernel")]:
            monkeypatch.setattr(triton, name, Named(name, names))
        x = torch.randn(shape)
        x = x.mT.contiguous().mT if last else x
        _, mean, scale = triton.forward(x, None, None, None, "relu", 0.0, 1e-5)
        _, by_z, *_ = triton.backward(x, x, None, None, None, mean, scale, "relu", 0.0)
        assert not by_z.numel()  # nothing is held for a residual that is not there
        monkeypatch.undo()
        return names

    assert launches((1, 3, 1 << 14)) == launches((1, 64, 256), last=True) == ["_forward_kernel", "_backward_kernel"]
    assert len(launches((1, 3, (1 << 14) + 1))) == len(launches((1, 64, 257), last=True)) == 6


class Named:
    """Stands for a kernel: keeps its name and runs nothing."""

    def __init__(self, name: str, names: list[str]) -> None:
        self.name, self.names = name, names

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        self.names.append(self.name)
        return lambda *arguments, **options: None


def test_empty_batch() -> None:
    x = torch.zeros(0, 3, 4, requires_grad=True)
    instance_norm_act(x).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.shape == x.shape


@settings(max_examples=8, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(2, 6), st.integers(1, 6)),
    activation=st.sampled_from(ACTIVATIONS), residual=st.booleans(),
)  # fmt: skip
def test_any_shape(shape: tuple[int, ...], activation: str, residual: bool) -> None:
    compare(case(shape, residual=residual), tolerance=2e-5, activation=activation)


def test_deterministic(each_form: str) -> None:
    def run() -> list[Tensor]:
        leaves = {name: tensor.requires_grad_() for name, tensor in case((2, 3, 700)).items()}
        out = instance_norm_act(**leaves)
        return [out, *torch.autograd.grad(out.square().sum(), list(leaves.values()))]

    for one, other in zip(run(), run(), strict=True):
        assert torch.equal(one, other)


def test_operator_is_well_registered() -> None:
    given = {name: tensor.requires_grad_() for name, tensor in case((2, 3, 5)).items()}
    torch.library.opcheck(op._norm_act, (*given.values(), "gelu", 0.01, 1e-5))
    last = torch.randn(2, 5, 3).movedim(1, 2).requires_grad_()
    torch.library.opcheck(op._norm_act, (last, None, None, None, "relu", 0.01, 1e-5))


def test_compile_and_checkpoint() -> None:
    given = {name: tensor.requires_grad_() for name, tensor in case((2, 3, 4, 5)).items()}
    wanted = torch.autograd.grad(instance_norm_act(**given).sum(), list(given.values()))
    compiled = torch.compile(instance_norm_act, fullgraph=True, backend="aot_eager")(**given)
    again = torch.utils.checkpoint.checkpoint(instance_norm_act, use_reentrant=False, **given)
    for out in (compiled, again):
        for one, other in zip(torch.autograd.grad(out.sum(), list(given.values())), wanted, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(2, 3)}, r"\(B, C, ...\)"),
        ({"weight": torch.ones(2)}, "weight"),
        ({"bias": torch.ones(2)}, "bias"),
        ({"residual": torch.zeros(2, 3, 5)}, "residual"),
        ({"activation": "swish"}, "'swish'"),
    ],
)
def test_what_does_not_fit(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        instance_norm_act(**{"x": torch.zeros(2, 3, 4), **change})


@pytest.mark.gpu
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.bfloat16, 3e-2), (torch.float16, 3e-3)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_gpu(
    gpu: torch.device, layout: torch.memory_format, dtype: torch.dtype, tolerance: float, activation: str
) -> None:
    given = {name: tensor.to(gpu) for name, tensor in case((2, 33, 31, 29, 37), dtype=dtype).items()}
    given = {name: t.to(memory_format=layout) if t.ndim == 5 else t for name, t in given.items()}
    compare(given, tolerance=tolerance, activation=activation)

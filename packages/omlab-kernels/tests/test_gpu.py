"""What holds of every operator on a GPU beside its numbers: same bits, other streams, the compiler, large tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import omlab_kernels

Call = Callable[[torch.device], list[Tensor]]


def drawn(device: torch.device, *shape: int) -> Tensor:
    """The same on each device."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(device)


def with_gradients(function: Callable[..., Tensor], *tensors: Tensor, **options: Any) -> list[Tensor]:
    leaves = [tensor.requires_grad_() for tensor in tensors]
    out = function(*leaves, **options)
    return [out.detach(), *torch.autograd.grad(out.square().sum(), leaves)]


def attention(device: torch.device) -> list[Tensor]:
    q, k, v = drawn(device, 3, 2, 3, 333, 64).bfloat16()
    factors = [drawn(device, 2, 3, 333, 8), drawn(device, 2, 3, 333, 70)]
    places = [torch.arange(333, device=device) % 8, torch.arange(333, device=device) % 70]

    def call(q: Tensor, k: Tensor, v: Tensor, *factors: Tensor) -> Tensor:
        return omlab_kernels.attention_relpos(q, k, v, list(zip(factors, places, strict=True)))

    return with_gradients(call, q, k, v, *factors)


def loss(device: torch.device) -> list[Tensor]:
    labels = torch.arange(2 * 40_000, device=device).reshape(2, 40_000) % 14
    return with_gradients(omlab_kernels.dice_cross_entropy, drawn(device, 2, 14, 40_000), labels=labels)


def norm(device: torch.device) -> list[Tensor]:
    def call(x: Tensor, weight: Tensor, residual: Tensor) -> Tensor:
        return omlab_kernels.instance_norm_act(x, weight, residual=residual)

    return with_gradients(call, drawn(device, 2, 5, 40_000), drawn(device, 5), drawn(device, 2, 5, 40_000))


def fusion(device: torch.device) -> list[Tensor]:
    classes = torch.arange(27, device=device).reshape(3, 3, 3) % 5
    first, second = drawn(device, 2, 1, 40, 40, 40)
    return list(omlab_kernels.volume_fusion(first, second, classes, block=(9, 9, 9), offset=(3, 2, 1), count=4))


def window(device: torch.device) -> list[Tensor]:
    scores, weights, sums = drawn(device, 14, 20, 20, 20), drawn(device, 20, 20, 20).abs(), drawn(device, 14, 9, 9, 9)
    omlab_kernels.window_accumulate(sums, scores, weights, start=(3, 0, 11), flip=(0, 2), softmax=True)
    lower = torch.arange(30) * 19 // 30
    labels, finite = omlab_kernels.window_argmax(scores, [(lower, lower + 1, torch.linspace(0, 1, 30))] * 3)
    return [sums, labels, finite]


def patches(device: torch.device) -> list[Tensor]:
    mask = torch.arange(2 * 16, device=device).reshape(2, 16) % 4 != 0
    images = drawn(device, 2, 3, 56, 56)

    def call(prediction: Tensor) -> Tensor:
        return omlab_kernels.masked_patch_error(prediction, images, mask, patch=14)

    return with_gradients(call, drawn(device, 2, 16, 588))


def distillation(device: torch.device) -> list[Tensor]:
    teacher, center = drawn(device, 2, 3, 9001), drawn(device, 9001)

    def call(student: Tensor) -> Tensor:
        return omlab_kernels.self_distillation(student, teacher, center)

    return with_gradients(call, drawn(device, 5, 3, 9001))


def pooling(device: torch.device) -> list[Tensor]:
    offsets = torch.tensor([0, 4000, 4000, 4001, 4300], device=device)

    def call(rows: Tensor, V: Tensor, v: Tensor, U: Tensor, u: Tensor, w: Tensor, c: Tensor) -> Tensor:
        means, _ = omlab_kernels.gated_pooling(rows, offsets, value=(V, v), gate=(U, u), score=(w, c))
        return means

    sizes = ((4300, 300), (70, 300), (70,), (70, 300), (70,), (2, 70), (2,))
    return with_gradients(call, *(drawn(device, *size) for size in sizes))


CALLS: dict[str, Call] = {
    "attention": attention, "loss": loss, "norm": norm, "fusion": fusion, "window": window, "patches": patches,
    "distillation": distillation, "pooling": pooling,
}  # fmt: skip
EACH = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


@EACH
def test_the_calls_of_these_tests_run(call: Call) -> None:
    assert all(tensor.isfinite().all() for tensor in call(torch.device("cpu")) if tensor.is_floating_point())


@pytest.mark.gpu
@EACH
def test_three_runs_give_the_same_bits(gpu: torch.device, call: Call) -> None:
    first, *others = (call(gpu) for _ in range(3))
    for other in others:
        assert all(torch.equal(one, two) for one, two in zip(first, other, strict=True))


@pytest.mark.gpu
@EACH
def test_another_stream(gpu: torch.device, call: Call) -> None:
    wanted = call(gpu)
    stream = torch.cuda.Stream(gpu)
    with torch.cuda.stream(stream):
        found = call(gpu)
    stream.synchronize()
    assert all(torch.equal(one, two) for one, two in zip(found, wanted, strict=True))


@pytest.mark.gpu
def test_the_compiler_gives_what_eager_gives(gpu: torch.device) -> None:
    logits, labels = drawn(gpu, 1, 5, 4000), torch.arange(4000, device=gpu)[None] % 5
    q, x = drawn(gpu, 1, 2, 100, 32), drawn(gpu, 1, 4, 10, 11, 12)

    def all_three(logits: Tensor, q: Tensor, x: Tensor) -> Tensor:
        attended = omlab_kernels.attention_relpos(q, q, q).mean()
        return omlab_kernels.dice_cross_entropy(logits, labels) + attended + omlab_kernels.instance_norm_act(x).mean()

    wanted = with_gradients(all_three, logits, q, x)
    found = with_gradients(torch.compile(all_three, fullgraph=True), logits, q, x)
    for one, two in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.gpu
def test_autocast_takes_its_type(gpu: torch.device) -> None:
    q, factor, index = drawn(gpu, 1, 2, 300, 64), drawn(gpu, 1, 2, 300, 6), torch.arange(300, device=gpu) % 6
    wanted = omlab_kernels.attention_relpos(q, q, q, [(factor, index)])
    with torch.autocast("cuda", dtype=torch.bfloat16):
        found = omlab_kernels.attention_relpos(q, q, q, [(factor, index)])
    assert found.dtype == torch.bfloat16
    assert (found.float() - wanted).abs().max() <= 4e-2 * wanted.abs().max()


@pytest.mark.gpu
def test_more_than_two_to_the_31_elements(gpu: torch.device, far_apart: Callable[[Tensor], Tensor]) -> None:
    free, _ = torch.cuda.mem_get_info(gpu)
    if free < 24 << 30:
        pytest.skip("needs 24 GiB of free GPU memory")
    logits, labels = drawn(gpu, 1, 3, 5000).half(), torch.arange(5000, device=gpu)[None] % 3
    near = with_gradients(omlab_kernels.dice_cross_entropy, logits, labels=labels)
    far = with_gradients(omlab_kernels.dice_cross_entropy, far_apart(logits.detach()), labels=labels)
    assert all(torch.equal(one, two) for one, two in zip(near, far, strict=True))
    q = drawn(gpu, 1, 3, 70).half()
    heads = [tensor[:, None].mT for tensor in (q, far_apart(q))]
    assert torch.equal(*(omlab_kernels.attention_relpos(head, head, head) for head in heads))
    x = torch.randn(9, 1 << 28, device=gpu, dtype=torch.float16).reshape(1, 9, 1 << 28)
    last = omlab_kernels.instance_norm_act(x)[0, 8]
    assert torch.equal(last, omlab_kernels.instance_norm_act(x[:, 8:])[0, 0])

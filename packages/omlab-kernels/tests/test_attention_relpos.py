"""`attention_relpos` against the naive form in float64: output and every gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omlab_kernels import attention_relpos
from omlab_kernels.relpos import naive, op

Case = dict[str, Any]


def case(
    queries: int, keys: int, width: int, *, factors: tuple[int, ...] = (), sink: bool = False,
    dtype: torch.dtype = torch.float32, batch: int = 2, heads: int = 2,
) -> Case:  # fmt: skip
    torch.manual_seed(queries + keys + width)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape).to(dtype)

    made: Case = {
        "q": drawn(batch, heads, queries, width),
        "k": drawn(batch, heads, keys, width),
        "v": drawn(batch, heads, keys, width),
        "factors": [(drawn(batch, heads, queries, n), torch.randint(n, (keys,))) for n in factors],
    }
    if sink:
        made |= {"sink_logit": drawn(batch, heads, queries) + 1, "sink_value": drawn(heads, width)}
        made["sink_logit"][0, 0, ::3] = -torch.inf
    return made


def leaves(given: Case, move: Any) -> tuple[Case, list[Tensor]]:
    """The case with leaves for autograd, moved by `move`."""
    made: Case = {name: move(value).detach().requires_grad_() for name, value in given.items() if name != "factors"}
    made["factors"] = [(move(factor).detach().requires_grad_(), index) for factor, index in given["factors"]]
    return made, [value for name, value in made.items() if name != "factors"] + [pair[0] for pair in made["factors"]]


def compare(given: Case, *, tolerance: float, scale: float = 0.3) -> None:
    """Output and all gradients, relative to the largest value of each."""
    exact, exact_leaves = leaves(given, lambda tensor: tensor.double())
    found, found_leaves = leaves(given, lambda tensor: tensor)
    wanted = naive.attention_relpos(**exact, scale=scale)
    got = attention_relpos(**found, scale=scale)
    assert got.dtype == given["q"].dtype
    slope = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1)).to(got)
    by_exact = torch.autograd.grad(wanted, exact_leaves, slope.double())
    by_found = torch.autograd.grad(got, found_leaves, slope)
    for one, other, leaf in zip((got, *by_found), (wanted, *by_exact), (given["q"], *found_leaves), strict=True):
        assert one.dtype == leaf.dtype
        error = (one.double() - other).detach().abs().max()
        assert error <= tolerance * max(1.0, float(other.detach().abs().max()))


SIZES = [(1, 1, 1), (37, 70, 24), (18, 33, 66)]
FACTORS: list[tuple[int, ...]] = [(), (5, 4, 7), (20, 40), (40, 24)]
# each of both with a sink and without
CHESSBOARD = [(size, columns, (i + j) % 2 == 0) for i, size in enumerate(SIZES) for j, columns in enumerate(FACTORS)]


@pytest.mark.parametrize(("size", "factors", "sink"), CHESSBOARD)
def test_output_and_gradients(each_form: str, size: tuple[int, int, int], factors: tuple[int, ...], sink: bool) -> None:
    compare(case(*size, factors=factors, sink=sink), tolerance=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 4e-2), (torch.float16, 5e-3)])
def test_half_precision(each_form: str, dtype: torch.dtype, tolerance: float) -> None:
    compare(case(40, 35, 32, factors=(5, 7), sink=True, dtype=dtype), tolerance=tolerance)


def test_heads_too_wide_for_a_kernel_take_the_plain_form(each_form: str) -> None:
    compare(case(9, 8, 130, factors=(5,), sink=True), tolerance=1e-5)


def test_float64_is_exact() -> None:
    compare(case(40, 35, 16, factors=(5, 7), sink=True, dtype=torch.float64), tolerance=1e-13)


def test_many_queries_in_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(op.plain._SCORES, "cpu", 1)
    compare(case(70, 35, 16, factors=(5,), sink=True), tolerance=1e-5)


@settings(max_examples=8, deadline=None)
@given(
    queries=st.integers(1, 40), keys=st.integers(1, 40), width=st.integers(1, 40), sink=st.booleans(),
    factors=st.lists(st.integers(1, 9), max_size=3), batch=st.integers(1, 2), heads=st.integers(1, 3),
)  # fmt: skip
def test_any_shape(queries: int, keys: int, width: int, sink: bool, factors: list[int], batch: int, heads: int) -> None:
    given = case(queries, keys, width, factors=tuple(factors), sink=sink, batch=batch, heads=heads)
    compare(given, tolerance=1e-5)


def test_strides(each_form: str) -> None:
    given = case(20, 20, 16, factors=(6,), sink=True)
    wanted = attention_relpos(**given)
    packed = torch.stack([given[name] for name in "qkv"], -1).movedim(1, 2)  # (B, N, heads, c, 3)
    strided = {**given, **{name: packed[..., place].movedim(1, 2) for place, name in enumerate("qkv")}}
    torch.testing.assert_close(attention_relpos(**strided), wanted)


@pytest.mark.usefixtures("interpreted")
def test_head_sizes_beyond_two_to_the_31_elements(far_apart: Callable[[Tensor], Tensor]) -> None:
    given = case(7, 7, 3, factors=(4,), batch=1, heads=1, dtype=torch.float16)
    wanted = attention_relpos(**given)
    spread = {name: far_apart(given[name][0].mT)[:, None].mT for name in "qkv"}
    assert spread["q"].stride(3) > 2**29
    assert torch.equal(attention_relpos(**given | spread), wanted)


@pytest.mark.usefixtures("interpreted")
def test_more_windows_than_a_second_axis_of_a_grid_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    from omlab_kernels.relpos import triton

    grids: list[tuple[int, ...]] = []
    kernels = ("_forward_kernel", "_query_gradient_kernel", "_key_gradient_kernel")
    for name in kernels:
        monkeypatch.setattr(triton, name, Launched(getattr(triton, name), grids))
    q, sums = torch.zeros(40_000, 2, 1, 4), torch.zeros(40_000, 2, 1)
    nothing = (q.new_zeros(40_000, 2, 1, 0), q.new_zeros(1, 0))
    triton.forward(q, q, q, *nothing, None, None, 1.0)
    triton.backward(q, q, q, q, *nothing, q, sums, 1.0)
    assert len(grids) == 3
    assert all(grid[0] == 80_000 and max(grid[1:], default=1) < 2**16 for grid in grids)


class Launched:
    """Stands for a kernel: keeps its grids and runs nothing."""

    def __init__(self, kernel: Any, grids: list[tuple[int, ...]]) -> None:
        self.kernel, self.grids = kernel, grids

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        self.grids.append(grid)
        return lambda *arguments, **options: None


def test_expanded_factor_and_slope(each_form: str) -> None:
    given = case(12, 9, 16)
    line = torch.randn(2, 2, 3, 1, 5, requires_grad=True)
    index = torch.randint(5, (9,))
    given["factors"] = [(line.expand(-1, -1, -1, 4, -1).flatten(2, 3), index)]
    attention_relpos(**given).sum().backward()  # type: ignore[no-untyped-call]
    found = line.grad
    line.grad = None
    given["factors"] = [(line.expand(-1, -1, -1, 4, -1).flatten(2, 3), index)]
    naive.attention_relpos(**given, scale=0.25).sum().backward()
    torch.testing.assert_close(found, line.grad, rtol=1e-4, atol=1e-5)


def tf32(x: Tensor) -> Tensor:
    """Rounded to the ten bits of a tensor core's operand."""
    return ((x.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


def three_products(a: Tensor, b: Tensor) -> Tensor:
    """What `tf32x3` computes: each operand as a large and a small part, without the product of the small ones."""
    (large, small), (high, low) = ((tf32(x), tf32(x - tf32(x))) for x in (a, b))
    return (small @ high + large @ low) + large @ high


@pytest.mark.parametrize("tokens", [64, 512])
def test_three_products_of_tf32_keep_the_tolerance_of_float32(tokens: int) -> None:
    torch.manual_seed(tokens)
    q, k, v, slope = torch.randn(4, 2, tokens, 64)

    def run(product: Callable[[Tensor, Tensor], Tensor], *tensors: Tensor) -> list[Tensor]:
        q, k, v, slope = tensors
        weights = (0.125 * product(q, k.mT)).softmax(-1)
        out = product(weights, v)
        by_scores = weights * (product(slope, v.mT) - (slope * out).sum(-1, keepdim=True))
        turned, weights = by_scores.mT.contiguous(), weights.mT.contiguous()
        return [out, product(by_scores, k), product(turned, q), product(weights, slope)]

    exact = run(torch.matmul, *(x.double() for x in (q, k, v, slope)))

    def error(product: Callable[[Tensor, Tensor], Tensor]) -> float:
        found = zip(run(product, q, k, v, slope), exact, strict=True)
        return max(float((one.double() - other).abs().max() / other.abs().max()) for one, other in found)

    assert error(three_products) < 3e-6 < 1e-5
    assert error(lambda a, b: tf32(a) @ tf32(b)) > 1e-4  # one product would not


def test_sink_without_mass_changes_nothing(each_form: str) -> None:
    given = case(9, 8, 16, factors=(4,), sink=True)
    given["sink_logit"] = torch.full_like(given["sink_logit"], -torch.inf)
    without = {name: value for name, value in given.items() if not name.startswith("sink")}
    torch.testing.assert_close(attention_relpos(**given), attention_relpos(**without))


def test_sink_is_its_keys(each_form: str) -> None:
    """Five keys of the same key and value are one sink with five times the mass."""
    given = case(9, 8, 16)
    key, value = torch.randn(2, 16), torch.randn(2, 16)
    more = {
        "q": given["q"],
        "k": torch.cat([given["k"], key[None, :, None].expand(2, 2, 5, 16)], 2),
        "v": torch.cat([given["v"], value[None, :, None].expand(2, 2, 5, 16)], 2),
    }
    logit = 0.25 * (given["q"] * key[:, None]).sum(-1) + torch.tensor(5.0).log()
    found = attention_relpos(**given, sink_logit=logit, sink_value=value)
    torch.testing.assert_close(found, attention_relpos(**more))


def test_factors_of_sam_med3d(each_form: str) -> None:
    """Its three terms, written out over the keys (i, j, l) of a cube, are three thin factors."""
    side, width = 3, 8
    given = case(side**3, side**3, width)
    tables = torch.randn(3, 2 * side - 1, width)
    grid = given["q"].unflatten(2, (side, side, side))
    steps = torch.arange(side)
    by_row = [table[steps[:, None] - steps + side - 1] for table in tables]  # (query index, l, c)
    u = torch.einsum("nhabcx,alx->nhabcl", grid, by_row[0])
    f = torch.einsum("nhabix,blx->nhabil", grid, by_row[1])
    g = torch.einsum("nhabjx,jlx->nhabjl", grid, by_row[2])
    dense = u[..., None, None, :] + f[:, :, :, :, None, :, None, :] + g[:, :, :, :, None, None, :, :]
    scores = given["q"] @ given["k"].mT * width**-0.5 + dense.reshape(2, 2, side**3, side**3)
    i, j, last = torch.unravel_index(torch.arange(side**3), (side, side, side))
    lines = [
        factor[:, :, :, :, None].expand(-1, -1, -1, -1, side, -1, -1).reshape(2, 2, side**3, -1) for factor in (f, g)
    ]
    factors = [(u.flatten(2, 4), last), (lines[0], i * side + last), (lines[1], j * side + last)]
    found = attention_relpos(given["q"], given["k"], given["v"], factors)
    torch.testing.assert_close(found, scores.softmax(-1) @ given["v"])


def test_large_logits(each_form: str) -> None:
    given = case(9, 8, 16, factors=(4,), sink=True)
    given["q"] = given["q"] * 1e3
    given["sink_logit"] = given["sink_logit"] * 1e3
    exact = {name: value.double() for name, value in given.items() if name != "factors"}
    exact["factors"] = [(factor.double(), index) for factor, index in given["factors"]]
    wanted = naive.attention_relpos(**exact, scale=0.25).float()
    torch.testing.assert_close(attention_relpos(**given), wanted, rtol=1e-3, atol=1e-3)


def test_empty_batch(each_form: str) -> None:
    given = {
        "q": torch.zeros(0, 2, 5, 8, requires_grad=True), "k": torch.zeros(0, 2, 4, 8), "v": torch.zeros(0, 2, 4, 8),
        "factors": [(torch.zeros(0, 2, 5, 3), torch.zeros(4, dtype=torch.long))],
    }  # fmt: skip
    out = attention_relpos(**given)
    out.sum().backward()  # type: ignore[no-untyped-call]
    assert out.shape == (0, 2, 5, 8)


def test_deterministic(each_form: str) -> None:
    def run() -> list[Tensor]:
        found, found_leaves = leaves(case(50, 40, 16, factors=(4, 3), sink=True), lambda tensor: tensor)
        out = attention_relpos(**found)
        return [out, *torch.autograd.grad(out.square().sum(), found_leaves)]

    for one, other in zip(run(), run(), strict=True):
        assert torch.equal(one, other)


def test_no_matrix_of_scores_is_allocated() -> None:
    """Forward and backward of 4096 tokens stay far below the 64 MiB of one head's scores."""
    given = case(4096, 4096, 16, factors=(16, 16, 16), sink=True, batch=1, heads=1)
    found, found_leaves = leaves(given, lambda tensor: tensor)
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        torch.autograd.grad(attention_relpos(**found).sum(), found_leaves)
    largest = max(event.nbytes() for event in record.profiler.kineto_results.events() if event.name() == "[memory]")
    assert 2**20 < largest <= 2**23


def test_operator_is_well_registered() -> None:
    given = case(6, 5, 4, factors=(3, 2), sink=True)
    bias = torch.cat([factor for factor, _ in given["factors"]], -1)
    indices = [index for _, index in given["factors"]]
    torch.library.opcheck(op._key_columns, (indices, [3, 2], 16, torch.float32))
    table = op._key_columns(indices, [3, 2], 5, torch.float32)
    assert torch.equal(given["factors"][1][0][..., indices[1]], bias[..., 3:] @ table[:, 3:].mT)
    value = given["sink_value"].expand(2, 2, 4).contiguous()
    tensors = [given["q"], given["k"], given["v"], bias, table, given["sink_logit"], value]
    tensors = [tensor if tensor is table else tensor.requires_grad_() for tensor in tensors]
    torch.library.opcheck(op._attention, (*tensors, 0.5))
    torch.library.opcheck(op._attention, (*tensors[:5], None, None, 0.5))


def test_compile_and_checkpoint() -> None:
    given, given_leaves = leaves(case(6, 5, 4, factors=(3, 2), sink=True), lambda tensor: tensor)

    def run() -> Tensor:
        return attention_relpos(**given)

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")()
    again = torch.utils.checkpoint.checkpoint(run, use_reentrant=False)
    wanted = torch.autograd.grad(run().sum(), given_leaves)
    for out in (compiled, again):
        for one, other in zip(torch.autograd.grad(out.sum(), given_leaves), wanted, strict=True):
            torch.testing.assert_close(one, other)


def test_autocast() -> None:
    given = case(6, 5, 8, factors=(3,), sink=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = attention_relpos(**given)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), attention_relpos(**given), rtol=5e-2, atol=5e-2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": torch.zeros(2, 2, 4, 7)}, "keys"),
        ({"k": torch.zeros(2, 2, 0, 8), "v": torch.zeros(2, 2, 0, 8)}, "at least one key"),
        ({"q": torch.zeros(2, 2, 5, 8).half()}, "one floating-point type"),
        ({"factors": [(torch.zeros(2, 2, 4, 3), torch.zeros(4, dtype=torch.long))]}, "A factor"),
        ({"factors": [(torch.zeros(2, 2, 5, 3), torch.zeros(5, dtype=torch.long))]}, "int64 indices"),
        ({"factors": [(torch.zeros(2, 2, 5, 3), torch.full((4,), 3))]}, "Key indices"),
        ({"sink_logit": torch.zeros(2, 2, 5)}, "both"),
        ({"sink_logit": torch.zeros(2, 5), "sink_value": torch.zeros(2, 8)}, "logit for"),
        ({"sink_logit": torch.zeros(2, 2, 5), "sink_value": torch.zeros(8)}, "value for"),
    ],
)
def test_what_does_not_fit(change: Case, message: str) -> None:
    given = {"q": torch.zeros(2, 2, 5, 8), "k": torch.zeros(2, 2, 4, 8), "v": torch.zeros(2, 2, 4, 8), **change}
    with pytest.raises(ValueError, match=message):
        attention_relpos(**given)


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 4e-2), (torch.float16, 5e-3)])
@pytest.mark.parametrize("factors", [(16, 16, 16), (24, 24, 24), (8, 64, 64)], ids=["tail", "wide-tail", "blocks"])
@pytest.mark.parametrize(("queries", "keys", "width"), [(1, 1, 32), (512, 512, 64), (333, 777, 128), (1000, 1000, 80)])
def test_gpu(
    gpu: torch.device, queries: int, keys: int, width: int, factors: tuple[int, ...], dtype: torch.dtype,
    tolerance: float,
) -> None:  # fmt: skip
    given = case(queries, keys, width, factors=factors, sink=True, dtype=dtype)
    moved = {name: value.to(gpu) for name, value in given.items() if name != "factors"}
    moved["factors"] = [(factor.to(gpu), index.to(gpu)) for factor, index in given["factors"]]
    compare(moved, tolerance=tolerance, scale=width**-0.5)

"""PCT-Net's shifted windows, gathered without padding and written down with it; rows are appended to `results.csv`.

    python windows.py [--device cuda] [--only forward] [--repeats 5]

`padded` is the specification (`naive`): padded, rolled, masked, all scores laid out. `padded-fused` does the same with
PyTorch's fused attention, bias and mask laid out as one. `gathered` is ours. Shapes are the levels of the published
network, and the whole network (`network`) at half its window. Ratios are of one run.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[3] / "packages" / "omlab-kernels" / "benchmarks"))

from measure import Case, Once, Prepare, Shape, drawn_with, main, with_gradients

from omlab_kernels import LaidOutTable
from omlab_misfm import swin
from omlab_misfm.pctnet import PctnetConfig, untrained_pctnet
from omlab_misfm.shifted_windows import naive, op

WAYS = ["padded", "padded-fused", "gathered"]
WINDOW = 6
LEVELS = [
    {"grid": grid, "width": width, "heads": heads, "shift": shift}
    for grid, width, heads in ((32, 128, 4), (16, 256, 8), (8, 512, 16))
    for shift in (0, 3)
]


def padded_fused(
    tokens: Tensor, *, weight: Tensor, bias: Tensor, table: Tensor, grid: Any, window: int, shift: int, heads: int,
    dropout: float = 0.0,
) -> Tensor:  # fmt: skip
    """As the specification, with fused attention."""
    batch, _, width = tokens.shape
    short = [-size % window for size in grid]
    x = functional.pad(tokens.view(batch, *grid, width), (0, 0, 0, short[2], 0, short[1], 0, short[0]))
    size = tuple(x.shape[1:4])
    windows = naive._partition(x.roll((-shift,) * 3, (1, 2, 3)), window)
    qkv = functional.linear(windows, weight, bias).view(*windows.shape[:3], 3, heads, -1)
    q, k, v = qkv.permute(3, 0, 1, 4, 2, 5).flatten(1, 2)
    score = table[naive.relative_rows(window)].permute(2, 0, 1)[None]
    if shift:
        score = score + naive._mask(size, window=window, shift=shift).to(score)[:, None].repeat(batch, 1, 1, 1)
    out = functional.scaled_dot_product_attention(q, k, v, attn_mask=score.to(q.dtype), dropout_p=dropout)
    x = naive._whole(out.transpose(1, 2).reshape(windows.shape), size, window=window).roll((shift,) * 3, (1, 2, 3))
    return x[:, : grid[0], : grid[1], : grid[2]].reshape(tokens.shape)


FORMS: dict[str, Any] = {
    "padded": naive.shifted_window_attention,
    "padded-fused": padded_fused,
    "gathered": op.shifted_window_attention,
}


def level(way: str, shape: Shape, *, device: str, drawn: torch.dtype, dtype: torch.dtype, gradients: bool) -> Once:
    grid, width, heads = shape["grid"], shape["width"], shape["heads"]
    draw = drawn_with(0, device)
    sizes = [(1, grid**3, width), (3 * width, width), (3 * width,), (naive.table_rows(WINDOW), heads)]
    scales = (1.0, width**-0.5, 0.1, 0.1)
    tensors = [(scale * draw(*size)).to(drawn).to(dtype) for size, scale in zip(sizes, scales, strict=True)]
    how: dict[str, Any] = {"grid": (grid,) * 3, "window": WINDOW, "shift": shape["shift"], "heads": heads}
    if way == "gathered" and not gradients:
        how["kept"] = LaidOutTable()

    def call() -> Tensor:
        tokens, weight, bias, table = tensors
        found: Tensor = FORMS[way](tokens, weight=weight, bias=bias, table=table, **how)
        return found

    if gradients:
        return with_gradients(call, [tensor.requires_grad_() for tensor in tensors])

    def once() -> tuple[Tensor, ...]:
        with torch.no_grad():
            return (call(),)

    return once


def forward(way: str, shape: Shape, *, device: str, drawn: torch.dtype, dtype: torch.dtype) -> Once:
    return level(way, shape, device=device, drawn=drawn, dtype=dtype, gradients=False)


def training(way: str, shape: Shape, *, device: str, drawn: torch.dtype, dtype: torch.dtype) -> Once:
    return level(way, shape, device=device, drawn=drawn, dtype=dtype, gradients=True)


def network(way: str, shape: Shape, *, device: str, drawn: torch.dtype, dtype: torch.dtype) -> Once:
    size = (shape["depth"], shape["side"], shape["side"])
    module = untrained_pctnet(PctnetConfig(input_size=size)).to(device, drawn).to(dtype)
    image = drawn_with(0, device)(1, 1, *size).to(drawn).to(dtype)
    form = FORMS[way]

    def attention(tokens: Tensor, *, kept: Any, **how: Any) -> Tensor:
        more = {"kept": kept} if way == "gathered" else {}
        found: Tensor = form(tokens, **how, **more)
        return found

    def once() -> tuple[Tensor, ...]:
        before, swin.shifted_window_attention = swin.shifted_window_attention, attention  # type: ignore[assignment]
        try:
            with torch.no_grad():
                return (module(image),)
        finally:
            swin.shifted_window_attention = before

    return once


def operations(shape: Shape, size: int, *, passes: int) -> tuple[float, float]:
    """The projections, and two products of the pairs of real tokens that see each other."""
    from omlab_misfm.shifted_windows.layout import layout_of

    grid, width = shape["grid"], shape["width"]
    layout = layout_of(grid=(grid,) * 3, window=WINDOW, shift=shape["shift"], batch=1, device=torch.device("cpu"))
    pairs = sum(part.windows * part.tokens**2 for part in layout.parts)
    return 2 * grid**3 * width * size * passes, passes * (6 * grid**3 * width**2 + 4 * pairs * width)


def case(prepare: Prepare, *, passes: int) -> Case:
    return Case(
        ways=WAYS,
        shapes={"cpu": LEVELS, "cuda": LEVELS, "rehearsal": [{"grid": 8, "width": 24, "heads": 2, "shift": 3}]},
        prepare=prepare,
        work=lambda shape, size: operations(shape, size, passes=passes),
        exact=lambda shape: shape["grid"] <= 8,
    )


CASES = {
    "forward": case(forward, passes=1),
    "training": case(training, passes=3),
    "network": Case(
        ways=WAYS,
        shapes={
            "cpu": [{"depth": 32, "side": 64}],
            "cuda": [{"depth": 64, "side": 128}],
            "rehearsal": [{"depth": 16, "side": 32}],
        },
        prepare=network,
        work=lambda shape, size: (0, 0),
        exact=lambda shape: shape["depth"] < 64,
    ),
}

if __name__ == "__main__":
    main(CASES, script=__file__, about=str(__doc__))

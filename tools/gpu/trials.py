"""The tiles that are tried for each kernel and shape, most promising first, and what runs each of them.

The grid is that of the review of the kernels, made by compiling them without a GPU. What the table has now is tried
first, so that all others are compared with it in the same run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product
from typing import Any, NamedTuple

import torch
from measure import drawn_with  # type: ignore[import-not-found]  # beside the benchmarks of the kernels
from torch import Tensor

from omlab_kernels import tiles
from omlab_kernels.tiles import Sweep, Tile

Call = Callable[[], tuple[Tensor, ...]]
Shape = tuple[tuple[str, int], ...]
TYPES = {"half": torch.bfloat16, "single": torch.float32}

HALF: dict[str, list[tuple[int, ...]]] = {
    "forward": [(128, 64, 8, 3), (128, 64, 8, 2), (64, 64, 4, 3), (64, 64, 4, 2)],
    "by_queries": [(64, 64, 4, 2), (64, 64, 4, 3), (128, 64, 8, 1), (128, 64, 8, 2), (64, 64, 4, 1)],
    "by_keys": [(64, 64, 4, 2), (64, 64, 4, 3), (64, 128, 8, 1), (64, 128, 8, 2), (64, 64, 4, 1)],
}
HALF_WIDE: dict[str, list[tuple[int, ...]]] = {
    "forward": [(64, 64, 4, 2), (128, 64, 8, 2)],
    "by_queries": [(64, 64, 8, 1), (64, 32, 4, 2)],
    "by_keys": [(64, 64, 8, 1), (32, 64, 4, 2)],
}
SINGLE: dict[str, list[tuple[int, ...]]] = {
    "forward": [(64, 32, 4, 2), (64, 32, 8, 1), (64, 64, 8, 1)],
    "by_queries": [(64, 32, 4, 2), (64, 32, 8, 1), (64, 64, 8, 1)],
    "by_keys": [(32, 64, 4, 2), (32, 64, 8, 1), (64, 64, 8, 1)],
}
DICE_FEW: list[tuple[int, ...]] = [(2048, 4, 528), (2048, 4, 264), (1024, 2, 1056), (512, 1, 2112)]
DICE_MANY: list[tuple[int, ...]] = [
    (4096, 4, 528), (2048, 2, 1056), (2048, 8, 264), (4096, 8, 264), (4096, 16, 132), (4096, 16, 264),
]  # fmt: skip
NORM: list[tuple[int, ...]] = list(product((2048, 4096, 8192), (4, 8)))
ACCUMULATE: list[tuple[int, ...]] = list(product((256, 512, 1024), (4, 8)))


class Made(NamedTuple):
    """What runs a kernel, what gives the same in float64, and how far each tensor may be off."""

    call: Call
    exact: Call
    allowed: list[float]


@dataclass(frozen=True)
class Trial:
    """A tile of a kernel, tried on a shape."""

    family: str
    kernel: str
    shape: Shape
    tile: Tile | Sweep

    def words(self) -> str:
        """The shape as the benchmarks write it."""
        return " ".join(f"{name}={value}" for name, value in self.shape)

    def ready(self, device: str) -> Made:
        """What it takes to run it."""
        return _made(self.family, self.kernel, self.shape, device)


_Shapes = list[tuple[str, dict[str, int], Mapping[str, Sequence[tuple[int, ...]]]]]


def trials(*, rehearse: bool = False) -> Iterator[Trial]:
    """All of them, in the order in which they are tried; for a rehearsal two a shape, of the smallest shapes."""
    for family, shape, grids in _SMALL if rehearse else _SHAPES:
        for kernel, grid in grids.items():
            made = [Tile(*row) if family == "attention" else Sweep(*row) for row in grid]
            found = dict.fromkeys([_now(family, kernel, shape), *made])  # each once
            for tile in list(found)[: 2 if rehearse else None]:
                yield Trial(family, kernel, tuple(shape.items()), tile)


def _now(family: str, kernel: str, shape: Mapping[str, int]) -> Tile | Sweep:
    if family == "attention":
        kind: tiles.Kind = "single" if shape["bits"] == 32 else "half"
        return tiles.attention(kernel, kind=kind, head=shape["head"], tokens=shape["grid"] ** 3)  # type: ignore[arg-type]
    return tiles.sweep(kernel, classes=shape["classes"])  # type: ignore[arg-type]


def _attention(grid: int, *, head: int = 64, bits: int = 16, heads: int = 12) -> dict[str, int]:
    return {"grid": grid, "heads": heads, "head": head, "bits": bits}


_SHAPES: _Shapes = [
    *(("attention", _attention(grid), HALF) for grid in (16, 24, 8)),
    ("dice", {"classes": 14, "side": 128}, {"dice": DICE_FEW}),
    ("dice", {"classes": 105, "side": 128}, {"dice": DICE_MANY}),
    *(("norm", {"classes": 32, "side": 128, "last": last}, {"norm": NORM}) for last in (1, 0)),
    ("accumulate", {"classes": 105, "side": 128}, {"accumulate": ACCUMULATE}),
    ("attention", _attention(16, head=128), HALF_WIDE),
    ("attention", _attention(16, bits=32), SINGLE),
]
_SMALL: _Shapes = [
    ("attention", _attention(2, head=16, heads=1), HALF),
    ("dice", {"classes": 3, "side": 5}, {"dice": DICE_FEW}),
    ("norm", {"classes": 3, "side": 5, "last": 1}, {"norm": NORM}),
    ("accumulate", {"classes": 3, "side": 5}, {"accumulate": ACCUMULATE}),
]


@lru_cache(maxsize=1)  # trials of a kernel and shape follow each other
def _made(family: str, kernel: str, shape: Shape, device: str) -> Made:
    made = _FAMILIES[family](kernel, dict(shape), device)
    return made._replace(exact=cache(made.exact))


def _attention_made(kernel: str, shape: Mapping[str, int], device: str) -> Made:
    from omlab_kernels.relpos import op, plain
    from omlab_kernels.relpos import triton as form

    grid, heads, head = shape["grid"], shape["heads"], shape["head"]
    dtype = TYPES["single" if shape["bits"] == 32 else "half"]
    tokens, draw, scale = grid**3, drawn_with(0, device), head**-0.5
    q, k, v, slope = (draw(1, heads, tokens, head).to(dtype) for _ in range(4))
    places = torch.unravel_index(torch.arange(tokens, device=device), (grid, grid, grid))
    factors = [(draw(1, heads, tokens, grid).to(dtype), place) for place in places]
    bias, table = op._side_by_side(q, factors, keys=tokens)
    allowed = 1e-5 if dtype == torch.float32 else 4e-2

    def exact() -> tuple[Tensor, ...]:
        eq, ek, ev, ebias, etable = (tensor.double() for tensor in (q, k, v, bias, table))
        out, sums = plain.forward(eq, ek, ev, ebias, etable, None, None, scale)
        if kernel == "forward":
            return out, sums
        return plain.backward(slope.double(), eq, ek, ev, ebias, etable, out, sums, scale)

    if kernel == "forward":
        return Made(lambda: form.forward(q, k, v, bias, table, None, None, scale), exact, [allowed] * 2)
    out, sums = form.forward(q, k, v, bias, table, None, None, scale)
    return Made(lambda: form.backward(slope, q, k, v, bias, table, out, sums, scale), exact, [allowed] * 5)


def _dice_made(kernel: str, shape: Mapping[str, int], device: str) -> Made:
    from omlab_kernels.dice_ce import plain
    from omlab_kernels.dice_ce import triton as form

    classes, voxels, draw = shape["classes"], shape["side"] ** 3, drawn_with(0, device)
    logits = draw(1, classes, voxels).bfloat16()
    slopes = draw(6, 1, classes)
    labels = torch.arange(voxels, device=device)[None] % classes
    options = (False, False, None, None, False)

    def call() -> tuple[Tensor, ...]:
        sums = form.class_sums(logits, labels, *options)
        return sums, form.class_sums_backward(slopes, logits, labels, *options)

    def exact() -> tuple[Tensor, ...]:
        z = logits.double()
        sums = plain.class_sums(z, labels, *options)
        return sums, plain.class_sums_backward(slopes.double(), z, labels, *options)

    return Made(call, exact, [3e-6, 2**-7])  # the interpreter cuts bfloat16 where a GPU rounds


def _norm_made(kernel: str, shape: Mapping[str, int], device: str) -> Made:
    from omlab_kernels.norm_act import plain
    from omlab_kernels.norm_act import triton as form

    channels, voxels, draw = shape["classes"], shape["side"] ** 3, drawn_with(0, device)
    x, slope = (draw(1, voxels, channels).mT if shape["last"] else draw(1, channels, voxels) for _ in range(2))
    x, slope, weight, bias = (part.bfloat16() for part in (x, slope, draw(channels), draw(channels)))
    rest = ("gelu", 0.0, 1e-5)  # smooth: no voxel's slope hangs on a rounding

    def call() -> tuple[Tensor, ...]:
        out, mean, scale = form.forward(x, weight, bias, None, *rest)
        return out, *form.backward(slope, x, weight, bias, None, mean, scale, *rest[:2])

    def exact() -> tuple[Tensor, ...]:
        ex, eweight, ebias = (part.double() for part in (x, weight, bias))
        out, mean, scale = plain.forward(ex, eweight, ebias, None, *rest)
        return out, *plain.backward(slope.double(), ex, eweight, ebias, None, mean, scale, *rest[:2])

    return Made(call, exact, [3e-2] * 5)


def _accumulate_made(kernel: str, shape: Mapping[str, int], device: str) -> Made:
    from omlab_kernels.window import plain
    from omlab_kernels.window import triton as form

    classes, sides, draw = shape["classes"], [shape["side"]] * 3, drawn_with(0, device)
    scores, weights = draw(classes, *sides).bfloat16(), draw(*sides).abs()
    sums = torch.zeros_like(scores, dtype=torch.float32)
    how: dict[str, Any] = {"start": (0, 0, 0), "flip": (2,), "softmax": True}

    def call() -> tuple[Tensor, ...]:
        form.window_accumulate(sums.zero_(), scores, weights, **how)
        return (sums,)

    def exact() -> tuple[Tensor, ...]:
        wanted = torch.zeros_like(scores, dtype=torch.float64)
        plain.window_accumulate(wanted, scores.double(), weights.double(), **how)
        return (wanted,)

    return Made(call, exact, [3e-6])


_FAMILIES: dict[str, Callable[..., Made]] = {
    "attention": _attention_made, "dice": _dice_made, "norm": _norm_made, "accumulate": _accumulate_made,
}  # fmt: skip

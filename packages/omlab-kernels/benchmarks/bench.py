"""Time, memory and error of each operator beside what a user would call today; rows are appended to `results.csv`.

    python bench.py [--device cuda] [--only attention] [--repeats 20]

A row's time is forward and backward together (fusion and window: forward); its peak is beyond the inputs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from measure import Case, Once, Shape, main, with_gradients
from torch import Tensor
from torch.nn import functional


def drawn_with(seed: int) -> Callable[..., Tensor]:
    """A normal draw that is the same on each device."""
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=generator)


def attention(way: str, shape: Shape, *, device: str, drawn: torch.dtype, dtype: torch.dtype) -> Once:
    grid, heads, width = (shape[name] for name in ("grid", "heads", "width"))
    tokens, draw = grid**3, drawn_with(0)
    sizes = [width] * 3 + [grid] * 3
    tensors = [draw(1, heads, tokens, size).to(device, drawn).to(dtype).requires_grad_() for size in sizes]
    q, k, v, *thin = tensors
    places = torch.unravel_index(torch.arange(tokens, device=device), (grid, grid, grid))
    pairs = list(zip(thin, places, strict=True))

    def add(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return score + sum(factor[b, h, i, index[j]] for factor, index in pairs)

    if way == "flex":
        from torch.nn.attention.flex_attention import flex_attention

        compiled = torch.compile(flex_attention)

    def call() -> Tensor:
        if way == "naive":
            from omlab_kernels.relpos.naive import attention_relpos as naive

            return naive(q, k, v, pairs, scale=width**-0.5)
        if way == "sdpa-mask":
            d, h, w = thin
            bias = (d[..., :, None, None] + h[..., None, :, None] + w[..., None, None, :]).flatten(-3)
            return functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        if way == "flex":
            return compiled(q, k, v, score_mod=add)
        if way == "flash-widened":
            return widened(q, k, v, pairs)
        from omlab_kernels import attention_relpos

        return attention_relpos(q, k, v, pairs)

    return with_gradients(call, tensors)


def widened(q: Tensor, k: Tensor, v: Tensor, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Flash attention on wider heads: [scale q, R] and [k, one-hot] have the biased scores as their product."""
    width, columns = q.shape[-1], sum(factor.shape[-1] for factor, _ in pairs)
    hot = [functional.one_hot(index, factor.shape[-1]).to(k).expand(*k.shape[:2], -1, -1) for factor, index in pairs]
    wide_q = torch.cat([width**-0.5 * q, *(factor for factor, _ in pairs)], -1)
    out = functional.scaled_dot_product_attention(
        wide_q, torch.cat([k, *hot], -1), functional.pad(v, (0, columns)), scale=1.0
    )
    return out[..., :width]


def attention_work(shape: Shape, size: int) -> tuple[float, float]:
    """q, k, v, the output and their gradients; two products forward, five backward."""
    numbers = shape["heads"] * shape["grid"] ** 3 * shape["width"]
    return 12 * numbers * size, 14 * numbers * shape["grid"] ** 3


def loss(way: str, shape: Shape, *, device: str, drawn: torch.dtype, dtype: torch.dtype) -> Once:
    classes, side = shape["classes"], shape["side"]
    logits = drawn_with(0)(1, classes, side, side, side).to(device, drawn).to(dtype).requires_grad_()
    labels = torch.randint(0, classes, (1, side, side, side), generator=torch.Generator().manual_seed(1)).to(device)
    if way == "ours":
        from omlab_kernels import dice_cross_entropy

        return with_gradients(lambda: dice_cross_entropy(logits, labels), [logits])
    function: Callable[[Tensor, Tensor], Tensor] = naive_loss
    if way.startswith("monai"):
        from monai.losses import DiceCELoss

        module = DiceCELoss(softmax=True, to_onehot_y=True)

        def function(z: Tensor, y: Tensor) -> Tensor:
            return module(z, y[:, None])

    called = torch.compile(function) if way.endswith("compiled") else function
    return with_gradients(lambda: called(logits, labels), [logits])


def naive_loss(logits: Tensor, labels: Tensor) -> Tensor:
    from omlab_kernels.dice_ce.naive import class_sums

    overlap, size, count, entropy, *_ = class_sums(
        logits, labels, sigmoid=False, squared=False, gamma=None, ignore=None
    )
    return (1 - (2 * overlap + 1e-5) / (size + count + 1e-5)).mean() + entropy.sum() / labels.numel()


def norm(way: str, shape: Shape, *, device: str, drawn: torch.dtype, dtype: torch.dtype) -> Once:
    channels, side = shape["channels"], shape["side"]
    draw = drawn_with(0)
    layout = torch.channels_last_3d if shape["last"] else torch.contiguous_format
    x = draw(1, channels, side, side, side).to(device, drawn).to(dtype).contiguous(memory_format=layout)
    tensors = [tensor.to(device, drawn).to(dtype).requires_grad_() for tensor in (x, draw(channels), draw(channels))]
    if way == "ours":
        from omlab_kernels import instance_norm_act

        return with_gradients(lambda: instance_norm_act(*tensors), tensors)
    called = torch.compile(norm_of_pytorch) if way.endswith("compiled") else norm_of_pytorch
    return with_gradients(lambda: called(*tensors), tensors)


def norm_of_pytorch(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return functional.leaky_relu(functional.instance_norm(x, weight=weight, bias=bias), 0.01)


def fusion(way: str, shape: Shape, *, device: str, drawn: torch.dtype, dtype: torch.dtype) -> Once:
    side, block = shape["side"], shape["block"]
    draw = drawn_with(0)
    first, second = (draw(1, side, side, side).to(device, drawn).to(dtype) for _ in range(2))
    cells = side // block - 1
    classes = torch.randint(0, 5, (cells,) * 3, generator=torch.Generator().manual_seed(1)).to(device)
    options = {"block": (block,) * 3, "offset": (block // 2,) * 3, "count": 4}
    if way == "naive":
        from omlab_kernels.fusion.naive import volume_fusion
    else:
        from omlab_kernels import volume_fusion
    return lambda: volume_fusion(first, second, classes, **options)


def window(way: str, shape: Shape, *, device: str, drawn: torch.dtype, dtype: torch.dtype) -> Once:
    classes, side, to = (shape[name] for name in ("classes", "side", "to"))
    scores = drawn_with(0)(classes, side, side, side).to(device, drawn).to(dtype)
    if way == "interpolate":
        return lambda: (functional.interpolate(scores[None], (to,) * 3, mode="trilinear")[0].argmax(0),)
    where = ((torch.arange(to, dtype=torch.float64) + 0.5) * side / to - 0.5).clamp(0, side - 1)
    lower = where.floor().long()
    axis = (lower, (lower + 1).clamp_max(side - 1), (where - lower).float())
    if way == "naive":
        from omlab_kernels.window.naive import window_argmax
    else:
        from omlab_kernels import window_argmax
    return lambda: window_argmax(scores, [axis] * 3)[:1]


CASES = {
    "attention": Case(
        ways=["naive", "sdpa-mask", "flex", "flash-widened", "ours"],
        shapes={
            "cpu": [{"grid": 8, "heads": 12, "width": 64}, {"grid": 12, "heads": 4, "width": 64}],
            "cuda": [{"grid": side, "heads": 12, "width": 64} for side in (8, 16, 24)],
        },
        prepare=attention,
        work=attention_work,
        exact=lambda shape: shape["grid"] <= 16,
    ),
    "loss": Case(
        ways=["naive", "naive-compiled", "monai", "monai-compiled", "ours"],
        shapes={
            "cpu": [{"classes": 14, "side": 64}, {"classes": 105, "side": 32}],
            "cuda": [{"classes": 14, "side": 128}, {"classes": 105, "side": 128}],
        },
        prepare=loss,
        work=lambda shape, size: (3 * shape["classes"] * shape["side"] ** 3 * size, 0),  # read twice, written once
        exact=lambda shape: True,
    ),
    "norm": Case(
        ways=["pytorch", "pytorch-compiled", "ours"],
        shapes={
            "cpu": [{"channels": 32, "side": 48, "last": last} for last in (0, 1)],
            "cuda": [{"channels": 32, "side": 128, "last": last} for last in (0, 1)],
        },
        prepare=norm,
        # x is read twice and the output written; then x and the gradient are read twice, and the gradient is written
        work=lambda shape, size: (8 * shape["channels"] * shape["side"] ** 3 * size, 0),
        exact=lambda shape: True,
    ),
    "fusion": Case(
        ways=["naive", "ours"],
        shapes={"cpu": [{"side": 64, "block": 8}], "cuda": [{"side": 128, "block": 8}, {"side": 256, "block": 8}]},
        prepare=fusion,
        work=lambda shape, size: (
            shape["side"] ** 3 * (3 * size + 1),
            0,
        ),  # two volumes read, one and the labels written
        exact=lambda shape: True,
    ),
    "window": Case(
        ways=["naive", "interpolate", "ours"],
        shapes={
            "cpu": [{"classes": 14, "side": 48, "to": 72}, {"classes": 105, "side": 32, "to": 48}],
            "cuda": [{"classes": 14, "side": 128, "to": 256}, {"classes": 105, "side": 192, "to": 288}],
        },
        prepare=window,
        work=lambda shape, size: (shape["classes"] * shape["side"] ** 3 * size + shape["to"] ** 3, 0),
        exact=lambda shape: shape["classes"] * shape["to"] ** 3 < 1 << 29,
    ),
}

if __name__ == "__main__":
    main(CASES, script=__file__, about=str(__doc__))

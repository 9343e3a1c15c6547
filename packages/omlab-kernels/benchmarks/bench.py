"""Time, memory and error of each operator beside what a user would call today; rows are appended to `results.csv`.

    python bench.py [--device cuda] [--only attention] [--repeats 20]

A row's time is forward and backward together (fusion and window: forward); its peak is beyond the inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from measure import Case, Once, Shape, drawn_with, main, with_gradients
from torch import Tensor
from torch.nn import functional


def attention(way: str, shape: Shape, *, device: str, drawn: torch.dtype, dtype: torch.dtype) -> Once:
    grid, heads, width = (shape[name] for name in ("grid", "heads", "width"))
    tokens, draw = grid**3, drawn_with(0, device)
    sizes = [width] * 3 + [grid] * 3
    tensors = [draw(1, heads, tokens, size).to(drawn).to(dtype).requires_grad_() for size in sizes]
    q, k, v, *thin = tensors
    places = torch.unravel_index(torch.arange(tokens, device=device), (grid, grid, grid))
    pairs = list(zip(thin, places, strict=True))
    hot = [functional.one_hot(index, grid).to(dtype).expand(1, heads, -1, -1) for index in places]

    def add(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return score + sum(factor[b, h, i, index[j]] for factor, index in pairs)

    def call() -> Tensor:
        if way == "naive":
            from omlab_kernels.relpos.naive import attention_relpos as naive

            return naive(q, k, v, pairs, scale=width**-0.5)
        if way == "sdpa-mask":
            d, h, w = thin
            bias = (d[..., :, None, None] + h[..., None, :, None] + w[..., None, None, :]).flatten(-3)
            return functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        if way == "flex":
            return flex()(q, k, v, score_mod=add)
        if way.startswith("flash-widened"):
            return widened(q, k, v, thin, hot)
        from omlab_kernels import attention_relpos

        return attention_relpos(q, k, v, pairs)

    if shape.get("only") == "forward":
        return lambda: (call().detach(),)
    once = with_gradients(call, tensors)
    return deterministic(once) if way == "flash-widened-deterministic" else once


def deterministic(once: Once) -> Once:
    """`once` with PyTorch's algorithms that give the same bits each time: flash attention's gradient is none else."""

    def fixed() -> tuple[Tensor, ...]:
        torch.use_deterministic_algorithms(True)
        try:
            return once()
        finally:
            torch.use_deterministic_algorithms(False)

    return fixed


@cache
def flex() -> Callable[..., Tensor]:
    """FlexAttention, compiled once in a process and for each shape by itself, which is its fastest."""
    from torch.nn.attention.flex_attention import flex_attention

    compiled: Callable[..., Tensor] = torch.compile(flex_attention, dynamic=False)
    return compiled


def widened(q: Tensor, k: Tensor, v: Tensor, thin: Sequence[Tensor], hot: Sequence[Tensor]) -> Tensor:
    """Flash attention on wider heads: [scale q, R] and [k, one-hot] have the biased scores as their product."""
    width, columns = q.shape[-1], sum(factor.shape[-1] for factor in thin)
    wide_q = torch.cat([width**-0.5 * q, *thin], -1)
    out = functional.scaled_dot_product_attention(
        wide_q, torch.cat([k, *hot], -1), functional.pad(v, (0, columns)), scale=1.0
    )
    return out[..., :width]


def attention_work(shape: Shape, size: int) -> tuple[float, float]:
    """q, k, v, the output and their gradients; two products forward, five backward."""
    numbers = shape["heads"] * shape["grid"] ** 3 * shape["width"]
    if shape.get("only") == "forward":
        return 4 * numbers * size, 4 * numbers * shape["grid"] ** 3
    return 12 * numbers * size, 14 * numbers * shape["grid"] ** 3


def loss(way: str, shape: Shape, *, device: str, drawn: torch.dtype, dtype: torch.dtype) -> Once:
    """MONAI's DiceCELoss: the mean of the samples' Dice, background included."""
    function: Callable[[Tensor, Tensor], Tensor] = naive_loss
    if way == "ours":
        from omlab_kernels import dice_cross_entropy

        function = dice_cross_entropy
    elif way.startswith("monai"):
        from monai.losses import DiceCELoss

        module = DiceCELoss(softmax=True, to_onehot_y=True)

        def function(z: Tensor, y: Tensor) -> Tensor:
            return module(z, y[:, None])

    return called_on_logits(function, way, shape, device=device, drawn=drawn, dtype=dtype)


def nnunet_loss(way: str, shape: Shape, *, device: str, drawn: torch.dtype, dtype: torch.dtype) -> Once:
    """What nnU-Net trains with: batch Dice without background, smooth 1e-5, and cross-entropy."""
    function: Callable[[Tensor, Tensor], Tensor] = loss_of_nnunet
    if way == "ours":
        from omlab_kernels import dice_cross_entropy

        def function(z: Tensor, y: Tensor) -> Tensor:
            return dice_cross_entropy(z, y, form="nnunet-v2", batch_dice=True, background=False)

    return called_on_logits(function, way, shape, device=device, drawn=drawn, dtype=dtype)


def called_on_logits(function: Any, way: str, shape: Shape, *, device: str, **types: torch.dtype) -> Once:
    classes, side = shape["classes"], shape["side"]
    logits = drawn_with(0, device)(1, classes, side, side, side).to(types["drawn"]).to(types["dtype"]).requires_grad_()
    labels = torch.randint(
        0, classes, (1, side, side, side), generator=torch.Generator(device).manual_seed(1), device=device
    )
    called = torch.compile(function, dynamic=False) if way.endswith("compiled") else function
    return with_gradients(lambda: called(logits, labels), [logits])


def naive_loss(logits: Tensor, labels: Tensor) -> Tensor:
    from omlab_kernels.dice_ce.naive import class_sums

    overlap, size, count, entropy, *_ = class_sums(
        logits, labels, sigmoid=False, squared=False, gamma=None, ignore=None
    )
    return (1 - (2 * overlap + 1e-5) / (size + count + 1e-5)).mean() + entropy.sum() / labels.numel()


def loss_of_nnunet(logits: Tensor, labels: Tensor) -> Tensor:
    """Its formula in plain PyTorch, in the precision of the logits (Isensee et al., Nature Methods 18, 2021).

    - mean over the classes but the background of (2 sum p y + s) / max(sum p + sum y + s, 1e-8), sums over all voxels
    of the batch, and the mean of the cross-entropy; the target is a one-hot mask of booleans, as in its own code.
    """
    axes = (0, *range(2, logits.ndim))
    p = logits.softmax(1)[:, 1:]
    y = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device).scatter_(1, labels[:, None], 1)[:, 1:]
    below = p.sum(axes) + y.sum(axes) + 1e-5
    dice = -((2 * (p * y).sum(axes) + 1e-5) / below.clamp_min(1e-8)).mean()
    return dice + functional.cross_entropy(logits, labels)


def norm(way: str, shape: Shape, *, device: str, drawn: torch.dtype, dtype: torch.dtype) -> Once:
    channels, side = shape["channels"], shape["side"]
    draw = drawn_with(0, device)
    layout = torch.channels_last_3d if shape["last"] else torch.contiguous_format
    x = draw(1, channels, side, side, side).contiguous(memory_format=layout)
    tensors = [tensor.to(drawn).to(dtype).requires_grad_() for tensor in (x, draw(channels), draw(channels))]
    if way == "ours":
        from omlab_kernels import instance_norm_act

        return with_gradients(lambda: instance_norm_act(*tensors), tensors)
    called = torch.compile(norm_of_pytorch, dynamic=False) if way.endswith("compiled") else norm_of_pytorch
    return with_gradients(lambda: called(*tensors), tensors)


def norm_of_pytorch(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return functional.leaky_relu(functional.instance_norm(x, weight=weight, bias=bias), 0.01)


def fusion(way: str, shape: Shape, *, device: str, drawn: torch.dtype, dtype: torch.dtype) -> Once:
    side, block = shape["side"], shape["block"]
    draw = drawn_with(0, device)
    first, second = (draw(1, side, side, side).to(drawn).to(dtype) for _ in range(2))
    cells = side // block - 1
    classes = torch.randint(0, 5, (cells,) * 3, generator=torch.Generator().manual_seed(1)).to(device)
    options = {"block": (block,) * 3, "offset": (block // 2,) * 3, "count": 4}
    if way == "naive":
        from omlab_kernels.fusion.naive import volume_fusion
    else:
        from omlab_kernels import volume_fusion
    return lambda: volume_fusion(first, second, classes, **options)


def patch_error(way: str, shape: Shape, *, device: str, drawn: torch.dtype, dtype: torch.dtype) -> Once:
    """MAE's loss on normalised patches of 16 pixels, three quarters of which are removed."""
    batch, side, patch = shape["batch"], shape["side"], 16
    draw, numbers, L = drawn_with(0, device), 3 * patch * patch, (side // patch) ** 2
    images = draw(batch, 3, side, side).to(drawn).to(dtype)
    prediction = draw(batch, L, numbers).to(drawn).to(dtype).requires_grad_()
    mask = (torch.arange(batch * L, device=device).reshape(batch, L) * 7 % 4 != 0).to(dtype)
    options = {"patch": patch, "normalise": True, "eps": 1e-6}
    if way == "ours":
        from omlab_kernels import masked_patch_error
    else:
        from omlab_kernels.patch_error.naive import masked_patch_error
    called = torch.compile(masked_patch_error, dynamic=False) if way.endswith("compiled") else masked_patch_error
    return with_gradients(lambda: called(prediction, images, mask, **options), [prediction])


def distillation(way: str, shape: Shape, *, device: str, drawn: torch.dtype, dtype: torch.dtype) -> Once:
    """DINO's loss of ten views of the student and two of the teacher, at its temperatures; logits are cosines."""
    views, batch, outputs = (shape[name] for name in ("views", "batch", "outputs"))
    draw = drawn_with(0, device)
    student = (draw(views, batch, outputs) / 4).to(drawn).to(dtype).requires_grad_()
    teacher, center = ((draw(*size) / 4).to(drawn).to(dtype) for size in ((2, batch, outputs), (outputs,)))
    pairs = 1 - torch.eye(2, views, device=device, dtype=dtype)
    options = {"student_temperature": 0.1, "teacher_temperature": 0.04}
    if way == "ours":
        from omlab_kernels import self_distillation

        return with_gradients(lambda: self_distillation(student, teacher, center, pairs=pairs, **options), [student])
    from omlab_kernels.distillation.naive import self_distillation as naive

    called = torch.compile(naive, dynamic=False) if way.endswith("compiled") else naive
    return with_gradients(lambda: called(student, teacher, center, pairs, **options), [student])


def pooling(way: str, shape: Shape, *, device: str, drawn: torch.dtype, dtype: torch.dtype) -> Once:
    """Gated attention over a bag of many patches and three of few, as CLAM has it: one branch, 256 hidden units."""
    count, width, hidden = (shape[name] for name in ("rows", "width", "hidden"))
    draw = drawn_with(0, device)
    sizes = ((count, width), (hidden, width), (hidden,), (hidden, width), (hidden,), (1, hidden), (1,))
    tensors = [(draw(*size) / size[-1] ** 0.5).to(drawn).to(dtype).requires_grad_() for size in sizes]
    rows, V, v, U, u, w, c = tensors
    wanted = tensors[:-1]  # that of c is 0, of which an error has no share
    small = count // 100
    offsets = torch.tensor([0, small, 2 * small, 3 * small, count], device=device)
    layers: dict[str, Any] = {"value": (V, v), "gate": (U, u), "score": (w, c)}
    if way == "ours":
        from omlab_kernels import gated_pooling

        return with_gradients(lambda: gated_pooling(rows, offsets, **layers)[0], wanted)
    sizes_of_bags = [small, small, small, count - 3 * small]  # on the host: no rival waits for the device

    def steps(rows: Tensor) -> Tensor:
        seen = functional.linear(rows, V, v).tanh() * functional.linear(rows, U, u).sigmoid()
        scores = functional.linear(seen, w, c).split(sizes_of_bags)
        pairs = zip(scores, rows.split(sizes_of_bags), strict=True)
        return torch.stack([score.softmax(dim=0).mT @ bag for score, bag in pairs])

    called = torch.compile(steps, dynamic=False) if way.endswith("compiled") else steps
    return with_gradients(lambda: called(rows), wanted)


def pooling_work(shape: Shape, size: int) -> tuple[float, float]:
    """Rows read twice and their gradient written; two products forward, two again and four backward."""
    numbers = shape["rows"] * shape["width"]
    return 3 * numbers * size, 8 * 2 * numbers * shape["hidden"]


def window(way: str, shape: Shape, *, device: str, drawn: torch.dtype, dtype: torch.dtype) -> Once:
    classes, side, to = (shape[name] for name in ("classes", "side", "to"))
    scores = drawn_with(0, device)(classes, side, side, side).to(drawn).to(dtype)
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


LOGITS = {
    "cpu": [{"classes": 14, "side": 64}, {"classes": 105, "side": 32}],
    "cuda": [{"classes": 14, "side": 128}, {"classes": 105, "side": 128}],
    "rehearsal": [{"classes": 3, "side": 5}],
}
CASES = {
    "attention": Case(
        ways=["naive", "sdpa-mask", "flex", "flash-widened-deterministic", "flash-widened", "ours"],
        shapes={
            "cpu": [{"grid": 8, "heads": 12, "width": 64}, {"grid": 12, "heads": 4, "width": 64}],
            "cuda": [
                *({"grid": side, "heads": 12, "width": 64} for side in (8, 16, 24)),
                *({"grid": side, "heads": 12, "width": 64, "only": "forward"} for side in (8, 16, 24)),
            ],
            "rehearsal": [
                {"grid": 2, "heads": 2, "width": 16},
                {"grid": 2, "heads": 2, "width": 16, "only": "forward"},
            ],
        },
        prepare=attention,
        work=attention_work,
        exact=lambda shape: shape["grid"] <= 16,
    ),
    "loss": Case(
        ways=["naive", "naive-compiled", "monai", "ours"],  # MONAI's takes 100 s to compile, for a shape
        shapes=LOGITS,
        prepare=loss,
        work=lambda shape, size: (3 * shape["classes"] * shape["side"] ** 3 * size, 0),  # read twice, written once
        exact=lambda shape: True,
    ),
    "loss-nnunet": Case(
        ways=["nnunet", "nnunet-compiled", "ours"],
        shapes=LOGITS,
        prepare=nnunet_loss,
        work=lambda shape, size: (3 * shape["classes"] * shape["side"] ** 3 * size, 0),
        exact=lambda shape: True,
    ),
    "norm": Case(
        ways=["pytorch", "pytorch-compiled", "ours"],
        shapes={
            "cpu": [{"channels": 32, "side": 48, "last": last} for last in (0, 1)],
            "cuda": [{"channels": 32, "side": 128, "last": last} for last in (0, 1)],
            "rehearsal": [{"channels": 3, "side": 5, "last": last} for last in (0, 1)],
        },
        prepare=norm,
        # x is read twice and the output written; then x and the gradient are read twice, and the gradient is written
        work=lambda shape, size: (8 * shape["channels"] * shape["side"] ** 3 * size, 0),
        exact=lambda shape: True,
    ),
    "fusion": Case(
        ways=["naive", "ours"],
        shapes={
            "cpu": [{"side": 64, "block": 8}],
            "cuda": [{"side": 128, "block": 8}, {"side": 256, "block": 8}],
            "rehearsal": [{"side": 12, "block": 3}],
        },
        prepare=fusion,
        # two volumes are read, one and the labels written
        work=lambda shape, size: (shape["side"] ** 3 * (3 * size + 1), 0),
        exact=lambda shape: True,
    ),
    "patch-error": Case(
        ways=["naive", "naive-compiled", "ours"],
        shapes={
            "cpu": [{"batch": 16, "side": 224}],
            "cuda": [{"batch": 128, "side": 224}],
            "rehearsal": [{"batch": 1, "side": 32}],
        },
        prepare=patch_error,
        # three quarters of both are read twice, and the gradient is written whole: 12 numbers a pixel of three channels
        work=lambda shape, size: (3 * 4 * shape["batch"] * shape["side"] ** 2 * size, 0),
        exact=lambda shape: True,
    ),
    "self-distillation": Case(
        ways=["naive", "naive-compiled", "ours"],
        shapes={
            "cpu": [{"views": 10, "batch": 4, "outputs": 65536}],
            "cuda": [{"views": 10, "batch": batch, "outputs": 65536} for batch in (16, 64)],
            "rehearsal": [{"views": 3, "batch": 2, "outputs": 40}],
        },
        prepare=distillation,
        # both networks' logits are read twice, and the gradient is written
        work=lambda shape, size: ((3 * shape["views"] + 4) * shape["batch"] * shape["outputs"] * size, 0),
        exact=lambda shape: True,
    ),
    "gated-pooling": Case(
        ways=["naive", "naive-compiled", "ours"],
        shapes={
            "cpu": [{"rows": 20_000, "width": 512, "hidden": 256}],
            "cuda": [{"rows": rows, "width": 512, "hidden": 256} for rows in (10_000, 100_000)],
            "rehearsal": [{"rows": 400, "width": 24, "hidden": 16}],
        },
        prepare=pooling,
        work=pooling_work,
        exact=lambda shape: True,
    ),
    "window": Case(
        ways=["naive", "interpolate", "ours"],
        shapes={
            "cpu": [{"classes": 14, "side": 48, "to": 72}, {"classes": 105, "side": 32, "to": 48}],
            "cuda": [{"classes": 14, "side": 128, "to": 256}, {"classes": 105, "side": 192, "to": 288}],
            "rehearsal": [{"classes": 3, "side": 5, "to": 8}],
        },
        prepare=window,
        work=lambda shape, size: (shape["classes"] * shape["side"] ** 3 * size + shape["to"] ** 3, 0),
        exact=lambda shape: shape["classes"] * shape["to"] ** 3 < 1 << 29,
    ),
}

if __name__ == "__main__":
    main(CASES, script=__file__, about=str(__doc__))

"""Losses against nnU-Net's numbers and against plain float64 autograd."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omlab.errors import TrainingError
from omlab_train.losses import (
    deep_supervision_loss,
    deep_supervision_weights,
    dice_cross_entropy,
    shrink_labels,
)
from omlab_train.schedules import poly

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden/stunet-algorithms.json").read_text())


def drawn(name: str, spec: dict[str, Any]) -> Tensor:
    """The array that the golden files mean by `name` and `spec`: raw Philox values, of unit variance or integers."""
    digest = hashlib.sha256(f"{spec['salt']}/{name}".encode()).digest()
    raw = np.random.Philox(key=np.frombuffer(digest[:16], dtype="<u8")).random_raw(math.prod(spec["shape"]))
    uniform = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
    if spec["dist"] == "integer":
        span = spec["high"] - spec["low"]
        values = np.floor(uniform * span).astype(np.int64) + spec["low"]
    else:
        values = ((uniform * 2 - 1) * math.sqrt(3.0)).astype(np.float32)
    return torch.from_numpy(values.reshape(spec["shape"]))


def golden_levels() -> tuple[list[Tensor], list[Tensor]]:
    draw = GOLDEN["loss"]["draw"]
    logits = [2 * drawn(f"logits{i}", draw[f"logits{i}"]) for i in range(5)]
    return logits, [drawn(f"target{i}", draw[f"target{i}"])[:, 0] for i in range(5)]


@pytest.mark.parametrize("batch_dice", [True, False])
def test_loss_golden(batch_dice: bool) -> None:
    expected = GOLDEN["loss"]["expected"]["batch_dice" if batch_dice else "sample_dice"]
    logits, labels = golden_levels()
    logits[0].requires_grad_()
    per_level = [dice_cross_entropy(z, y, batch_dice=batch_dice) for z, y in zip(logits, labels, strict=True)]
    total = sum(w * value for w, value in zip(deep_supervision_weights(5), per_level, strict=True))
    assert isinstance(total, Tensor)
    total.backward()
    gradient = logits[0].grad
    assert gradient is not None
    found = {
        "level0": per_level[0].item(),
        "per_level": [value.item() for value in per_level],
        "total": total.item(),
        "grad_level0_norm": gradient.norm().item(),
        "grad_level0_first8": gradient.flatten()[:8].tolist(),
    }
    assert set(found) == set(expected) - {"ce", "dice"}  # parts, which the kernel's own tests compare
    for name, value in found.items():
        # A gradient's entries are differences of numbers of the size of its largest entry.
        absolute = 1e-5 * gradient.abs().max().item() if name == "grad_level0_first8" else 0.0
        np.testing.assert_allclose(value, expected[name], rtol=GOLDEN["rtol"], atol=absolute, err_msg=name)


def test_shrink_golden() -> None:
    case = GOLDEN["target_downsampling"]
    labels = drawn("seg", case["draw"]["seg"])[:, 0]
    scales = [scale for scale in case["scales"] if scale != [1, 1, 1]]
    assert len(scales) == len(case["expected"])
    for scale, expected in zip(scales, case["expected"], strict=True):
        shape = [round(n * s) for n, s in zip(labels.shape[1:], scale, strict=True)]
        assert torch.equal(shrink_labels(labels, shape=shape)[:, None], torch.tensor(expected))


def test_weights_and_rate_golden() -> None:
    for levels, expected in GOLDEN["deep_supervision_weights"].items():
        np.testing.assert_allclose(deep_supervision_weights(int(levels)), expected, rtol=1e-12)
    assert deep_supervision_weights(1) == [1.0]
    for row in GOLDEN["poly_lr"]:
        value = row["initial"] * poly(row["epoch"], steps=row["max_epochs"])
        assert value == pytest.approx(row["value"], rel=1e-12)


def plain(z: Tensor, y: Tensor, *, batch_dice: bool, form: str) -> Tensor:
    """nnU-Net's formulas, one operation a line, through autograd."""
    p = z.softmax(1)
    g = torch.nn.functional.one_hot(y, z.shape[1]).movedim(-1, 1).to(z.dtype)
    axes = tuple(range(2, z.ndim))
    overlap, size = (p * g).sum(axes), (p + g).sum(axes)
    if batch_dice:
        overlap, size = overlap.sum(0, keepdim=True), size.sum(0, keepdim=True)
    below = size + 1e-5 + 1e-8 if form == "nnunet-v1" else (size + 1e-5).clamp_min(1e-8)
    dice = ((2 * overlap + 1e-5) / below)[:, 1:].mean()
    return torch.nn.functional.cross_entropy(z, y) - dice


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    batch=st.integers(1, 3),
    classes=st.integers(2, 6),
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    batch_dice=st.booleans(),
    form=st.sampled_from(["nnunet-v1", "nnunet-v2"]),
)
def test_equals_autograd(seed: int, batch: int, classes: int, shape: list[int], batch_dice: bool, form: Any) -> None:
    generator = torch.Generator().manual_seed(seed)
    z64 = (3 * torch.randn(batch, classes, *shape, generator=generator, dtype=torch.float64)).requires_grad_()
    y = torch.randint(0, classes, (batch, *shape), generator=generator)
    expected = plain(z64, y, batch_dice=batch_dice, form=form)
    (wanted,) = torch.autograd.grad(expected, z64)
    for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 2e-5)):
        z = z64.detach().to(dtype).requires_grad_()
        value = dice_cross_entropy(z, y, batch_dice=batch_dice, form=form)
        (found,) = torch.autograd.grad(value, z)
        torch.testing.assert_close(value.double(), expected, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(found.double(), wanted, rtol=tolerance, atol=tolerance)


def test_half_precision_is_computed_in_float32() -> None:
    z = torch.randn(1, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    y = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    value = dice_cross_entropy(z, y)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(dice_cross_entropy(z.float(), y).item(), rel=1e-6)
    (gradient,) = torch.autograd.grad(value, z)
    assert gradient.dtype == torch.bfloat16


def test_keeps_only_logits_and_labels_for_the_backward_pass() -> None:
    z = torch.randn(2, 20, 8, 8, 8).requires_grad_()
    y = torch.zeros(2, 8, 8, 8, dtype=torch.long)
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = dice_cross_entropy(z, y)
    assert kept.pop(z.untyped_storage().data_ptr()) == z.nbytes
    assert sum(kept.values()) <= y.nbytes + 1000
    loss.backward()
    assert z.grad is not None


def test_deep_supervision_sums_levels_and_skips_weight_zero() -> None:
    logits, labels = golden_levels()
    shapes = [tuple(z.shape[2:]) for z in logits]
    shrunk = [shrink_labels(labels[0], shape=shape) for shape in shapes]
    expected = sum(
        w * dice_cross_entropy(z, y) for w, z, y in zip(deep_supervision_weights(5), logits, shrunk, strict=True)
    )
    logits[4] = torch.full_like(logits[4], math.nan)  # of weight 0: must not be looked at
    assert deep_supervision_loss(logits, labels[0]).item() == pytest.approx(float(expected), rel=1e-6)
    assert deep_supervision_loss(logits[:1], labels[0]).item() == pytest.approx(
        dice_cross_entropy(logits[0], labels[0]).item(), rel=1e-7
    )
    with pytest.raises(ValueError, match="2 weights for 1 levels"):
        deep_supervision_loss(logits[:1], labels[0], weights=[1, 1])


def test_wrong_labels_are_named() -> None:
    z = torch.zeros(1, 3, 2, 2)
    with pytest.raises(TrainingError, match="Labels go from 0 to 7, but here they may go from 0 to 2"):
        dice_cross_entropy(z, torch.tensor([[[0, 1], [2, 7]]]))
    with pytest.raises(TrainingError, match=r"need labels \(1, 2, 2\), not \(1, 1, 2, 2\)"):
        dice_cross_entropy(z, torch.zeros(1, 1, 2, 2, dtype=torch.long))
    with pytest.raises(TrainingError, match="1 classes leave none to measure"):
        dice_cross_entropy(z[:, :1], torch.zeros(1, 2, 2, dtype=torch.long))


def test_a_step_needs_one_more_buffer_of_the_logits_size() -> None:
    z = torch.randn(1, 24, 48, 48, 48).requires_grad_()
    y = torch.zeros(1, 48, 48, 48, dtype=torch.uint8)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as record:
        torch.autograd.grad(dice_cross_entropy(z, y), z)
    held = highest = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            highest = max(highest, held)
    assert z.nbytes <= highest < 2 * z.nbytes

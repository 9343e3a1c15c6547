"""`dice_cross_entropy`: the naive form is the specification; numbers recorded from MONAI and nnU-Net."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omlab_kernels import deep_supervision_dice_cross_entropy, dice_cross_entropy, tiles
from omlab_kernels.dice_ce import op
from omlab_kernels.dice_ce.naive import class_sums

GOLDEN = Path(__file__).parent / "golden"
MONAI = json.loads((GOLDEN / "monai-losses.json").read_text())
STUNET = json.loads((GOLDEN / "stunet-loss.json").read_text())

OPTIONS: list[dict[str, Any]] = [
    {},
    {"sigmoid": True, "squared": True, "gamma": 2.0},
    {"squared": True, "gamma": 0.5, "ignore": 255},
    {"sigmoid": True, "ignore": 255},
]


def case(shape: tuple[int, ...], options: dict[str, Any], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    torch.manual_seed(sum(shape))
    logits = (3 * torch.randn(shape)).to(dtype)
    if options.get("sigmoid"):
        labels = torch.randint(0, 2, shape)
    else:
        labels = torch.randint(0, shape[1], (shape[0], *shape[2:]))
    if options.get("ignore") is not None:
        labels[torch.rand(labels.shape) < 0.2] = options["ignore"]
    return logits, labels


def sums_of(logits: Tensor, labels: Tensor, options: dict[str, Any]) -> Tensor:
    flat = labels.flatten(2 if options.get("sigmoid") else 1)
    found: Tensor = op._class_sums(
        logits.flatten(2), flat, options.get("sigmoid", False), options.get("squared", False), options.get("gamma"),
        options.get("ignore"), not options.get("sigmoid", False),
    )  # fmt: skip
    return found


def reference(logits: Tensor, labels: Tensor, options: dict[str, Any]) -> Tensor:
    given = {"sigmoid": False, "squared": False, "gamma": None, "ignore": None, **options}
    return class_sums(logits, labels, **given)


def compare(logits: Tensor, labels: Tensor, options: dict[str, Any], *, tolerance: float, rounding: float) -> None:
    """Sums and gradient against the naive form in float64, relative to the largest value of each."""
    exact = logits.detach().double().requires_grad_()
    wanted = reference(exact, labels, options)
    logits = logits.detach().requires_grad_()
    found = sums_of(logits, labels, options)
    slopes = torch.randn(wanted.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    slopes = slopes.to(wanted.device)
    if options.get("sigmoid"):
        slopes[4] = 0  # that sum is not defined for regions
    (by_exact,) = torch.autograd.grad((wanted * slopes).sum(), exact)
    (by_found,) = torch.autograd.grad((found * slopes.to(found)).sum(), logits)
    assert by_found.dtype == logits.dtype
    for row_found, row_wanted in zip(found.double(), wanted, strict=True):
        assert (row_found - row_wanted).abs().max() <= tolerance * (1e-30 + row_wanted.abs().max())
    assert (by_found.double() - by_exact).abs().max() <= (tolerance + rounding) * (1e-30 + by_exact.abs().max())


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize(("programs", "options"), list(zip([1, 3, 3, 1], OPTIONS, strict=True)))
def test_each_program_takes_several_tiles(programs: int, options: dict[str, Any]) -> None:
    with tiles.tried("dice", tiles.Sweep(2048, 4, programs)):
        compare(*case((2, 33, 517), options), options, tolerance=3e-6, rounding=0)


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("options", OPTIONS)
def test_classes_beyond_two_to_the_31_elements(far_apart: Callable[[Tensor], Tensor], options: dict[str, Any]) -> None:
    logits, labels = case((1, 3, 40), options, torch.float16)
    near, far = logits.requires_grad_(), far_apart(logits.detach()).requires_grad_()
    sums, again = (sums_of(tensor, labels, options) for tensor in (near, far))
    assert torch.equal(sums, again)
    assert torch.equal(*(torch.autograd.grad(one.sum(), leaf)[0] for one, leaf in ((sums, near), (again, far))))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5, 7), (1, 17, 3, 5, 9), (2, 4, 1031)])
def test_sums_and_gradient(each_form: str, shape: tuple[int, ...], options: dict[str, Any]) -> None:
    compare(*case(shape, options), options, tolerance=3e-6, rounding=0)


# The gradient is rounded once; Triton's interpreter cuts float32 to bfloat16 where a GPU rounds to the nearest.
@pytest.mark.parametrize(("dtype", "rounding"), [(torch.bfloat16, 2**-7), (torch.float16, 2**-11)])
def test_half_precision(each_form: str, dtype: torch.dtype, rounding: float) -> None:
    options = {"gamma": 2.0}
    compare(*case((2, 5, 4, 5, 6), options, dtype), options, tolerance=3e-6, rounding=rounding)


def test_float64_is_exact() -> None:
    for options in OPTIONS:
        compare(*case((2, 5, 4, 5, 6), options, torch.float64), options, tolerance=1e-12, rounding=0)


def test_many_classes(each_form: str) -> None:
    compare(*case((1, 512, 5, 6), {}), {}, tolerance=3e-6, rounding=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.bool])
def test_strides_and_label_types(each_form: str, dtype: torch.dtype) -> None:
    options = {"sigmoid": True}
    logits, labels = case((2, 4, 3, 4, 6), options)
    wanted = dice_cross_entropy(logits, labels, sigmoid=True)
    last = logits.to(memory_format=torch.channels_last_3d).requires_grad_()
    found = dice_cross_entropy(last, labels.to(dtype), sigmoid=True)
    torch.testing.assert_close(found, wanted, rtol=2e-6, atol=0)
    found.backward()  # type: ignore[no-untyped-call]
    assert last.grad is not None
    assert last.grad.is_contiguous(memory_format=torch.channels_last_3d)
    holes = torch.zeros(2, 4, 6, 4, 12)[:, :, ::2, :, 1::2].copy_(logits).requires_grad_()
    dice_cross_entropy(holes, labels, sigmoid=True).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(holes.grad, last.grad)


@pytest.mark.parametrize("row", MONAI["cases"], ids=lambda row: f"{row['monai']}-{json.dumps(row['options'])}")
def test_monai(each_form: str, drawn: Any, row: dict[str, Any]) -> None:
    logits = (3 * drawn("logits", MONAI["draw"]["logits"])[:, : row["channels"]]).requires_grad_()
    options = dict(row["options"])
    name = "regions" if options["sigmoid"] else "labels"
    if "class_weights" in options:
        options["class_weights"] = torch.tensor(options["class_weights"])
    labels = drawn(name, MONAI["draw"][name])
    loss = dice_cross_entropy(logits, labels[:, : row["channels"]] if options["sigmoid"] else labels, **options)
    assert loss.item() == pytest.approx(row["loss"], rel=2e-6)
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(gradient.flatten()[::10], torch.tensor(row["gradient"]), rtol=2e-5, atol=1e-8)


@pytest.mark.parametrize("batch_dice", [True, False])
def test_nnunet(each_form: str, drawn: Any, batch_dice: bool) -> None:
    draw, expected = STUNET["loss"]["draw"], STUNET["loss"]["expected"]["batch_dice" if batch_dice else "sample_dice"]
    logits = [2 * drawn(f"logits{i}", draw[f"logits{i}"]) for i in range(5)]
    labels = [drawn(f"target{i}", draw[f"target{i}"])[:, 0] for i in range(5)]
    options: dict[str, Any] = {"form": "nnunet-v1", "background": False, "batch_dice": batch_dice}
    levels = [dice_cross_entropy(z, y, **options).item() for z, y in zip(logits, labels, strict=True)]
    assert levels == pytest.approx(expected["per_level"], rel=1e-5)
    weights = [8 / 15, 4 / 15, 2 / 15, 1 / 15, 0]
    logits[0].requires_grad_()
    total = deep_supervision_dice_cross_entropy(logits, labels, weights=weights, **options)
    assert total.item() == pytest.approx(expected["total"], rel=1e-5)
    (gradient,) = torch.autograd.grad(total, logits[0])
    assert gradient.norm().item() == pytest.approx(expected["grad_level0_norm"], rel=1e-4)
    assert gradient.flatten()[:8].tolist() == pytest.approx(expected["grad_level0_first8"], rel=1e-4)


def test_forms_differ_only_by_their_definition() -> None:
    logits, labels = case((2, 3, 4, 4), {})
    monai, first, second = (
        dice_cross_entropy(logits, labels, ce=0, form=form).item() for form in ("monai", "nnunet-v1", "nnunet-v2")
    )
    assert first == pytest.approx(monai - 1, abs=1e-6)
    assert second == pytest.approx(monai - 1, abs=1e-6)
    empty = torch.full((1, 2, 3), -100.0)
    empty[:, 0] = 100
    nothing = torch.zeros(1, 3, dtype=torch.long)
    assert dice_cross_entropy(empty, nothing, ce=0, form="nnunet-v2", background=False, smooth=0).item() == 0


def test_ignored_voxels_are_as_if_cut_away(each_form: str) -> None:
    logits, labels = case((2, 3, 6, 5), {})
    for ignore in (-1, 255):
        hidden = torch.cat([labels, torch.full((2, 4, 5), ignore)], 1)
        more = torch.cat([logits, torch.randn(2, 3, 4, 5)], 2)
        found = dice_cross_entropy(more, hidden, ignore=ignore, focal=1)
        torch.testing.assert_close(found, dice_cross_entropy(logits, labels, focal=1), rtol=2e-6, atol=0)
        nothing = dice_cross_entropy(logits, torch.full_like(labels, ignore), dice=0, ignore=ignore)
        assert nothing.item() == 0


def test_empty_batch_and_no_terms() -> None:
    logits = torch.zeros(0, 3, 4, 4, requires_grad=True)
    loss = dice_cross_entropy(logits, torch.zeros(0, 4, 4, dtype=torch.long))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert logits.grad is not None
    assert dice_cross_entropy(*case((1, 3, 4), {}), dice=0, ce=0).item() == 0


@settings(max_examples=8, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 7), st.integers(1, 7)),
    squared=st.booleans(), sigmoid=st.booleans(), ignore=st.sampled_from([None, -1]),
)  # fmt: skip
def test_any_shape(shape: tuple[int, ...], squared: bool, sigmoid: bool, ignore: int | None) -> None:
    options = {"squared": squared, "sigmoid": sigmoid, "ignore": ignore, "gamma": 2.0}
    compare(*case(shape, options), options, tolerance=3e-6, rounding=0)


def test_deterministic(each_form: str) -> None:
    def run() -> tuple[Tensor, Tensor]:
        logits, labels = case((2, 5, 900), {})
        logits.requires_grad_()
        loss = dice_cross_entropy(logits, labels, focal=1)
        return loss.detach(), torch.autograd.grad(loss, logits)[0]

    (first, by_first), (second, by_second) = run(), run()
    assert torch.equal(first, second)
    assert torch.equal(by_first, by_second)


def test_extreme_logits(each_form: str) -> None:
    logits = torch.tensor([[[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]]], requires_grad=True)
    loss = dice_cross_entropy(logits, torch.tensor([[0, 1, 0]]), focal=1)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_operator_is_well_registered() -> None:
    logits, labels = case((2, 3, 10), {})
    torch.library.opcheck(op._class_sums, (logits.requires_grad_(), labels, False, True, 2.0, 255, True))
    last = torch.randn(2, 10, 3).movedim(1, 2).requires_grad_()
    torch.library.opcheck(op._class_sums, (last, labels, False, False, None, None, False))


def test_compile_and_checkpoint() -> None:
    logits, labels = case((2, 3, 4, 4), {})
    logits.requires_grad_()
    wanted = dice_cross_entropy(logits, labels)
    compiled = torch.compile(dice_cross_entropy, fullgraph=True, backend="aot_eager")(logits, labels)
    torch.testing.assert_close(compiled, wanted)
    again = torch.utils.checkpoint.checkpoint(dice_cross_entropy, logits, labels, use_reentrant=False)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (wanted, compiled, again)]
    torch.testing.assert_close(gradients[1], gradients[0])
    torch.testing.assert_close(gradients[2], gradients[0])


def test_autocast_leaves_the_precision_alone() -> None:
    logits, labels = case((2, 3, 40), {})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = dice_cross_entropy(logits, labels)
    assert torch.equal(loss, dice_cross_entropy(logits, labels))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": torch.zeros(2, 5, dtype=torch.long)}, "need labels"),
        ({"labels": torch.zeros(2, 4)}, "integers"),
        ({"labels": torch.full((2, 4), 3)}, "Labels go from 3 to 3"),
        ({"labels": torch.full((2, 4), -1)}, "Labels go from -1"),
        ({"labels": torch.full((2, 3, 4), 2), "sigmoid": True}, "Masks"),
        ({"logits": torch.zeros(2, 1, 4), "background": False}, "none to measure"),
        ({"logits": torch.zeros(2, 3)}, r"\(B, C, ...\)"),
        ({"class_weights": torch.ones(2)}, "need weights"),
        ({"labels": torch.zeros(2, 3, 4, dtype=torch.long), "sigmoid": True, "label_smoothing": 0.1}, "smoothing"),
    ],
)
def test_what_does_not_fit(arguments: dict[str, Any], message: str) -> None:
    options = {"logits": torch.zeros(2, 3, 4), "labels": torch.zeros(2, 4, dtype=torch.long), **arguments}
    with pytest.raises(ValueError, match=message):
        dice_cross_entropy(options.pop("logits"), options.pop("labels"), **options)


def test_levels_must_fit() -> None:
    logits, labels = case((1, 3, 4), {})
    with pytest.raises(ValueError, match="do not fit together"):
        deep_supervision_dice_cross_entropy([logits], [labels], weights=[1, 2])
    with pytest.raises(ValueError, match="other than 0"):
        deep_supervision_dice_cross_entropy([logits], [labels], weights=[0])


@pytest.mark.gpu
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 14, 33, 31, 29), (1, 105, 37, 41, 43), (1, 512, 17, 19)])
def test_gpu(gpu: torch.device, shape: tuple[int, ...], dtype: torch.dtype, options: dict[str, Any]) -> None:
    logits, labels = (tensor.to(gpu) for tensor in case(shape, options, dtype))
    rounding = 0 if dtype == torch.float32 else torch.finfo(dtype).eps / 2
    compare(logits, labels, options, tolerance=3e-6, rounding=rounding)

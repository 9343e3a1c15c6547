"""`masked_patch_error` is its specification, in value and gradient, for any shapes and masks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omlab_kernels import masked_patch_error
from omlab_kernels.patch_error import naive


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 3),
    channels=st.integers(1, 3),
    grid=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    patch=st.integers(2, 5),
    normalise=st.booleans(),
    masked=st.booleans(),
    as_bool=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_it_is_the_specification(
    batch: int,
    channels: int,
    grid: tuple[int, int],
    patch: int,
    normalise: bool,
    masked: bool,
    as_bool: bool,
    seed: int,
) -> None:
    draw = torch.Generator().manual_seed(seed)
    images = 3 + torch.randn(batch, channels, grid[0] * patch, grid[1] * patch, generator=draw, dtype=torch.float64)
    shape = (batch, grid[0] * grid[1], patch * patch * channels)
    first = torch.randn(shape, generator=draw, dtype=torch.float64).requires_grad_()
    second = first.detach().clone().requires_grad_()
    mask = None
    if masked:
        mask = torch.rand(shape[:2], generator=draw) < 0.7
        mask[0, 0] = True
    given_mask = mask if mask is None or as_bool else mask.float()
    found = masked_patch_error(first, images, given_mask, patch=patch, normalise=normalise)
    wanted = naive.masked_patch_error(
        second, images, None if mask is None else mask.double(), patch=patch, normalise=normalise, eps=1e-6
    )
    torch.testing.assert_close(found, wanted)
    found.backward()
    wanted.backward()
    torch.testing.assert_close(first.grad, second.grad)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    channels=st.integers(1, 3), grid=st.tuples(st.integers(1, 2), st.integers(1, 3)), patch=st.integers(2, 5),
    normalise=st.booleans(), masked=st.booleans(), last=st.booleans(), seed=st.integers(0, 1000),
)  # fmt: skip
def test_the_kernels_are_the_specification(
    interpreted: None,
    channels: int,
    grid: tuple[int, int],
    patch: int,
    normalise: bool,
    masked: bool,
    last: bool,
    seed: int,
) -> None:
    draw = torch.Generator().manual_seed(seed)
    images = 3 + torch.randn(2, channels, grid[0] * patch, grid[1] * patch, generator=draw)
    images = images.contiguous(memory_format=torch.channels_last) if last else images
    shape = (2, grid[0] * grid[1], patch * patch * channels)
    prediction = torch.randn(shape, generator=draw)
    mask = torch.rand(shape[:2], generator=draw) < 0.6 if masked else None
    if mask is not None:
        mask[0, 0] = True
    strided = torch.stack([prediction, prediction], dim=3)[..., 0].requires_grad_()
    exact = prediction.double().requires_grad_()
    found = masked_patch_error(strided, images, mask, patch=patch, normalise=normalise)
    wanted = naive.masked_patch_error(
        exact,
        images.double(),
        None if mask is None else mask.double(),
        patch=patch,
        normalise=normalise,
        eps=1e-6,
    )
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-6)
    found.backward()
    wanted.backward()
    assert strided.grad is not None
    torch.testing.assert_close(strided.grad.double(), exact.grad, rtol=1e-4, atol=1e-6)


def test_the_kernels_hold_in_half_precision_and_where_no_patch_counts(interpreted: None) -> None:
    images = torch.randn(1, 1, 4, 4)
    prediction = torch.zeros(1, 4, 4, dtype=torch.bfloat16, requires_grad=True)
    none = masked_patch_error(prediction, images, torch.zeros(1, 4), patch=2)
    none.backward()
    assert (none.item(), none.dtype) == (0, torch.float32)
    assert prediction.grad is not None
    assert not prediction.grad.any()
    assert prediction.grad.dtype == torch.bfloat16


def test_half_precision_is_summed_in_float32_and_nothing_that_counts_gives_zero() -> None:
    images = torch.randn(1, 1, 4, 4)
    prediction = torch.zeros(1, 4, 4, dtype=torch.bfloat16, requires_grad=True)
    loss = masked_patch_error(prediction, images, patch=2)
    assert loss.dtype == torch.float32
    none = masked_patch_error(prediction, images, torch.zeros(1, 4), patch=2)
    none.backward()
    assert none.item() == 0
    assert prediction.grad is not None


@pytest.mark.parametrize(
    ("shape", "mask", "said"),
    [
        ((1, 4, 4), None, r"sides that 2 divides"),
        ((1, 4, 5), (1, 4), r"need predictions \(1, 4, 4\), not \(1, 4, 5\)"),
        ((1, 4, 4), (1, 3), r"need a mask \(1, 4\), not \(1, 3\)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(shape: tuple[int, ...], mask: tuple[int, ...] | None, said: str) -> None:
    images = torch.zeros(1, 1, 4, 5 if mask is None else 4)
    with pytest.raises(ValueError, match=said):
        masked_patch_error(torch.zeros(shape), images, None if mask is None else torch.ones(mask), patch=2)

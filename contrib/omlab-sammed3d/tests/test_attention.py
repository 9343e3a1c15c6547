from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from omlab_kernels.relpos import plain
from omlab_sammed3d.attention import RelativeAttention, RelPos
from omlab_sammed3d.naive import padded_attention

FORMS: list[RelPos] = ["sam-med3d", "textbook"]


def drawn(
    *, window: int, sides: tuple[int, int, int], rel_pos: RelPos, heads: int = 2, scale: float = 1.0
) -> RelativeAttention:
    module = RelativeAttention(4 * heads, heads=heads, window=window, sides=sides, rel_pos=rel_pos).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=scale)
    return module


class Largest(TorchDispatchMode):
    """Records the number of elements of the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, Tensor):
                # a broadcast view allocates nothing
                stored = value.untyped_storage().nbytes() // value.element_size()
                self.elements = max(self.elements, min(value.numel(), stored))
        return result


@settings(max_examples=40, deadline=None)
@given(
    grid=st.tuples(*[st.integers(1, 5)] * 3),
    window=st.integers(1, 4),
    rel_pos=st.sampled_from(FORMS),
    batch=st.integers(1, 2),
    seed=st.integers(0, 2**16),
)
def test_one_sink_key_equals_padding(
    grid: tuple[int, int, int], window: int, rel_pos: RelPos, batch: int, seed: int
) -> None:
    torch.manual_seed(seed)
    module = drawn(window=window, sides=(window,) * 3, rel_pos=rel_pos)
    x = torch.randn(batch, *grid, 8, dtype=torch.float64)
    torch.testing.assert_close(module(x), padded_attention(module, x).cropped, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("rel_pos", FORMS)
def test_gradients_of_input_and_every_weight_equal_those_of_padding(rel_pos: RelPos) -> None:
    torch.manual_seed(0)
    module = drawn(window=3, sides=(3, 3, 3), rel_pos=rel_pos)
    x = torch.randn(2, 2, 5, 4, 8, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 2, 5, 4, 8, dtype=torch.float64)
    found = []
    for output in (module(x), padded_attention(module, x).cropped):
        found.append(torch.autograd.grad((output * weight).sum(), [x, *module.parameters()]))
    for ours, theirs in zip(*found, strict=True):
        assert ours.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rel_pos", FORMS)
def test_gradients_are_those_of_finite_differences(rel_pos: RelPos) -> None:
    torch.manual_seed(0)
    module = drawn(window=3, sides=(3, 3, 3), rel_pos=rel_pos, heads=1)
    x = torch.randn(1, 2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(module, (x,))


@pytest.mark.parametrize("rel_pos", FORMS)
def test_very_large_and_very_small_masses_stay_finite(rel_pos: RelPos) -> None:
    torch.manual_seed(0)
    module = drawn(window=3, sides=(3, 3, 3), rel_pos=rel_pos, scale=30.0).float()
    x = torch.randn(1, 2, 2, 2, 8)
    x.requires_grad_()
    output = module(x)
    output.sum().backward()
    assert output.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    torch.testing.assert_close(output, padded_attention(module, x).cropped, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("sizes", list(product((2, 3), repeat=3)))
def test_the_textbook_form_takes_grids_that_are_not_cubic(sizes: tuple[int, int, int]) -> None:
    module = drawn(window=0, sides=sizes, rel_pos="textbook")
    x = torch.randn(1, *sizes, 8, dtype=torch.float64)
    torch.testing.assert_close(module(x), padded_attention(module, x).cropped)


def test_sam_med3ds_form_refuses_a_global_grid_that_is_not_cubic() -> None:
    module = drawn(window=0, sides=(2, 2, 2), rel_pos="sam-med3d")
    with pytest.raises(ValueError, match=r"equal sides, not \(2, 2, 3\)"):
        module(torch.zeros(1, 2, 2, 3, 8, dtype=torch.float64))


def test_tables_of_another_length_are_resized_along_their_rows() -> None:
    module = drawn(window=0, sides=(2, 2, 2), rel_pos="sam-med3d")
    module.rel_pos_d.data = torch.tensor([[0.0], [3.0], [6.0]]).double().expand(3, 4).contiguous()
    table = module.tables((3, 3, 3))[0]
    assert table[:, 0].tolist() == pytest.approx([0.0, 1.2, 3.0, 4.8, 6.0])  # half-voxel centres, ends held
    x = torch.randn(1, 3, 3, 3, 8, dtype=torch.float64)
    torch.testing.assert_close(module(x), padded_attention(module, x).cropped)


@pytest.fixture
def largest(monkeypatch: pytest.MonkeyPatch) -> Largest:
    """Looks into the kernel too, which is one operation to whoever looks from outside."""
    counter, forward = Largest(), plain.forward

    def watched(*arguments: Any) -> Any:
        with counter:
            return forward(*arguments)

    monkeypatch.setattr(plain, "forward", watched)
    return counter


@pytest.mark.parametrize("rel_pos", FORMS)
@pytest.mark.parametrize("window", [0, 14])
def test_no_tensor_of_all_pairs_of_tokens_is_made(rel_pos: RelPos, window: int, largest: Largest) -> None:
    side, heads, dim = 16, 2, 16
    module = RelativeAttention(
        dim, heads=heads, window=window, sides=(window or side,) * 3, rel_pos=rel_pos
    ).requires_grad_(False)
    with torch.inference_mode(), largest:
        module(torch.randn(1, side, side, side, dim))
    tokens = (window or side) ** 3
    # a bias would have all pairs; the factors have at most side + 2 * side ** 2 columns for each token
    assert 0 < largest.elements < heads * tokens**2 / 6


def test_padding_adds_no_scores(largest: Largest) -> None:
    """The window of 14 over a grid of 8: 513 keys for each of 512 queries, not 2744."""
    module = RelativeAttention(64, heads=2, window=14, sides=(14, 14, 14), rel_pos="sam-med3d").requires_grad_(False)
    with torch.inference_mode(), largest:
        module(torch.randn(1, 8, 8, 8, 64))
    assert 0 < largest.elements <= 2 * 512 * 513


def test_a_width_that_the_heads_do_not_divide_is_named() -> None:
    with pytest.raises(ValueError, match="width 10 is not a multiple of the 4 heads"):
        RelativeAttention(10, heads=4, window=2, sides=(2, 2, 2), rel_pos="textbook")

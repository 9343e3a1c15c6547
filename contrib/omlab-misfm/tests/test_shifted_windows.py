"""The gathered form agrees with the padded textbook form: outputs and every gradient, whatever the grid."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab_kernels import LaidOutTable
from omlab_misfm.levels import Triple
from omlab_misfm.shifted_windows import naive, op
from omlab_misfm.shifted_windows.layout import layout_of

CPU = torch.device("cpu")


def drawn(*, grid: Triple, window: int, heads: int = 2, batch: int = 2, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def of(*shape: int) -> torch.Tensor:
        return (0.5 * torch.randn(*shape, generator=generator, dtype=torch.float64)).requires_grad_()

    width = 3 * heads
    count = grid[0] * grid[1] * grid[2]
    return {
        "tokens": of(batch, count, width),
        "weight": of(3 * width, width),
        "bias": of(3 * width),
        "table": of(naive.table_rows(window), heads),
    }


def gradients(function: Any, given: dict[str, torch.Tensor], **how: Any) -> list[torch.Tensor]:
    tokens, others = given["tokens"], {name: value for name, value in given.items() if name != "tokens"}
    out = function(tokens, **others, heads=2, **how)
    return [out, *torch.autograd.grad(out.square().sum(), list(given.values()))]


@settings(max_examples=15, deadline=None)
@given(st.tuples(*[st.integers(1, 7)] * 3), st.integers(1, 4), st.booleans(), st.integers(0, 100))
def test_agrees_with_the_padded_form(grid: Triple, window: int, shifted: bool, seed: int) -> None:
    shift = window // 2 if shifted else 0
    given_ = drawn(grid=grid, window=window, seed=seed)
    how = {"grid": grid, "window": window, "shift": shift}
    expected = gradients(naive.shifted_window_attention, given_, **how)
    found = gradients(op.shifted_window_attention, given_, **how)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(("side", "shift", "share"), [(32, 0, 0.62), (32, 3, 0.56), (8, 0, 0.18), (8, 3, 0.11)])
def test_scores_are_as_few_as_promised(side: int, shift: int, share: float) -> None:
    layout = layout_of(grid=(side,) * 3, window=6, shift=shift, batch=1, device=CPU)
    padded = (side + -side % 6) ** 3 * 6**3
    assert sum(part.windows * part.tokens**2 for part in layout.parts) / padded < share


def test_every_token_is_in_one_window() -> None:
    layout = layout_of(grid=(8, 5, 13), window=6, shift=3, batch=3, device=CPU)
    assert layout.order.sort().values.tolist() == list(range(3 * 8 * 5 * 13))
    assert torch.equal(layout.order[layout.back], torch.arange(3 * 8 * 5 * 13))
    assert sum(part.windows * part.tokens for part in layout.parts) == 8 * 5 * 13


def test_a_shift_of_a_whole_window_is_refused() -> None:
    with pytest.raises(ValueError, match="3 tokens cannot be shifted by 3"):
        layout_of(grid=(6, 6, 6), window=3, shift=3, batch=1, device=CPU)


def test_what_is_kept_is_seen_to_change() -> None:
    given_ = {name: value.detach() for name, value in drawn(grid=(5, 4, 3), window=3).items()}
    tokens = given_.pop("tokens")
    kept, how = LaidOutTable(), {"grid": (5, 4, 3), "window": 3, "shift": 1, "heads": 2}
    with torch.no_grad():
        first = op.shifted_window_attention(tokens, **given_, **how, kept=kept)
        torch.testing.assert_close(first, op.shifted_window_attention(tokens, **given_, **how, kept=kept))
        given_["table"].mul_(3)
        other = op.shifted_window_attention(tokens, **given_, **how, kept=kept)
        torch.testing.assert_close(other, naive.shifted_window_attention(tokens, **given_, **how))


def test_rows_of_the_table_are_those_that_the_weights_need() -> None:
    rows = naive.relative_rows(6)
    assert rows.shape == (216, 216)
    assert int(rows.max()) == 10 * 17 + 10 * 11 + 10  # of 1331: most are never used
    assert int(rows[0, 1]) == 5 * 17 + 5 * 11 + 4  # from the next token along x
    assert int(rows[0, 36]) == 4 * 17 + 5 * 11 + 5


def test_a_layout_made_while_predicting_serves_a_training() -> None:
    given_ = drawn(grid=(5, 3, 4), window=3, seed=9)
    how = {"grid": (5, 3, 4), "window": 3, "shift": 1}
    layout_of.cache_clear()
    with torch.inference_mode():
        op.shifted_window_attention(
            given_["tokens"], **{k: v for k, v in given_.items() if k != "tokens"}, **how, heads=2
        )
    assert len(gradients(op.shifted_window_attention, given_, **how)) == 5

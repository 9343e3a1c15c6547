from __future__ import annotations

import pytest
import torch

from omlab_retfound.positions import resized_table, sincos_table


def test_the_first_half_tells_the_column_and_the_second_the_row() -> None:
    table = sincos_table(8, grid=3)[1:].reshape(3, 3, 8)
    assert torch.equal(table[0, :, :4], table[2, :, :4])
    assert torch.equal(table[:, 0, 4:], table[:, 2, 4:])
    assert not torch.equal(table[:, 0, :4], table[:, 1, :4])


def test_the_row_of_the_class_token_is_zero_and_stays_when_resized() -> None:
    assert not sincos_table(8, grid=3)[0].any()
    table = torch.randn(1, 10, 8)
    resized = resized_table(table, grid=5)
    assert resized.shape == (1, 26, 8)
    assert torch.equal(resized[:, 0], table[:, 0])
    assert resized_table(table, grid=3) is table


def test_what_cannot_be_is_named() -> None:
    with pytest.raises(ValueError, match="6 cannot be divided"):
        sincos_table(6, grid=2)
    with pytest.raises(ValueError, match="10 positions are no square"):
        resized_table(torch.zeros(1, 10, 4), grid=2, prefix=0)

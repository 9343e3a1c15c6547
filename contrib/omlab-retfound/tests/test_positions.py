from __future__ import annotations

import pytest
import torch

from omlab_retfound.positions import resized_table


def test_the_row_of_the_class_token_stays_when_resized() -> None:
    table = torch.randn(1, 10, 8)
    resized = resized_table(table, grid=5)
    assert resized.shape == (1, 26, 8)
    assert torch.equal(resized[:, 0], table[:, 0])
    assert resized_table(table, grid=3) is table


def test_what_cannot_be_is_named() -> None:
    with pytest.raises(ValueError, match="10 positions are no square"):
        resized_table(torch.zeros(1, 10, 4), grid=2, prefix=0)

from __future__ import annotations

import pytest

from omlab.errors import SettingsError
from omlab_stunet.network import PUBLISHED_POOLINGS
from omlab_stunet.plan import PUBLISHED_PLAN, fill_poolings, with_settings


@pytest.mark.parametrize("wrong", [[1, 2], ["a", 1, 1], [0, 1, 1], [True, 1, 1], [float("nan"), 1, 1]])
def test_a_wrong_spacing_is_one_sentence(wrong: list[object]) -> None:
    with pytest.raises(SettingsError, match="three numbers above 0"):
        with_settings(PUBLISHED_PLAN, poolings=PUBLISHED_POOLINGS, spacing=wrong, patch_size=[])


@pytest.mark.parametrize("wrong", [[128, 128, 100], [16, 16, 32], [64.5, 64, 64]])
def test_a_window_that_the_network_cannot_take_is_one_sentence(wrong: list[float]) -> None:
    with pytest.raises(SettingsError, match="patch_size is"):
        with_settings(PUBLISHED_PLAN, poolings=PUBLISHED_POOLINGS, spacing=[], patch_size=wrong)


def test_poolings_of_other_plans_are_cut_or_filled() -> None:
    assert fill_poolings([[1, 2, 2]] * 6) == ((1, 2, 2),) * 5
    assert fill_poolings([[2, 2, 2]]) == ((2, 2, 2), *((1, 1, 1),) * 4)

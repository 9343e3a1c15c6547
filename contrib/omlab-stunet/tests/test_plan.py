from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab.errors import SettingsError
from omlab_stunet.network import PUBLISHED_POOLINGS
from omlab_stunet.plan import LARGEST_PATCH, PUBLISHED_PLAN, fill_poolings, plan_for, poolings_for, with_settings

TRIPLE = st.tuples(*[st.integers(1, 300)] * 3)
SPACING = st.tuples(*[st.floats(0.3, 10)] * 3)


def facts(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], *, intensity: str = "hu", channels: int = 1
) -> dict[str, Any]:
    """What a survey tells of one case of `shape` and `spacing` (z, y, x) with labelled voxels of 0..99."""
    values = np.arange(100)
    low, high = np.percentile(values, [0.5, 99.5])
    return {
        "shapes": [list(shape)],
        "spacings": [list(spacing)],
        "intensities": [intensity],
        "channels": channels,
        "foreground": {
            "mean": float(values.mean()),
            "std": float(values.std()),
            "percentile_00_5": float(low),
            "percentile_99_5": float(high),
        },
    }


@settings(max_examples=50, deadline=None)
@given(patch=TRIPLE, spacing=SPACING)
def test_poolings_divide_the_window_and_leave_enough_of_it(patch: Sequence[int], spacing: Sequence[float]) -> None:
    poolings = poolings_for(patch, spacing)
    assert len(poolings) == 5
    for size, axis in zip(patch, zip(*poolings, strict=True), strict=True):
        assert size % prod(axis) == 0
        assert prod(axis) == 1 or size // prod(axis) >= 4


@settings(max_examples=50, deadline=None)
@given(shape=TRIPLE.filter(lambda s: prod(s) < 10**6), spacing=SPACING)
def test_the_window_fits_the_case(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> None:
    plan, poolings = plan_for(facts(shape, spacing, intensity="mr"), plan=PUBLISHED_PLAN)
    assert plan.spacing == pytest.approx(spacing)
    assert prod(plan.patch_size) <= LARGEST_PATCH
    for size, window, axis in zip(shape, plan.patch_size, zip(*poolings, strict=True), strict=True):
        assert window % prod(axis) == 0
        assert window <= max(4, 2 * size)


def test_coarse_axes_are_pooled_later() -> None:
    assert poolings_for((32, 128, 128), (5.0, 1.0, 1.0)) == ((1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2))


def test_ct_is_normalised_by_its_labelled_voxels() -> None:
    plan, _ = plan_for(facts((4, 10, 10), (1, 1, 1)), plan=PUBLISHED_PLAN)
    assert plan.normalisation == "ct"
    assert plan.mean == pytest.approx(49.5)
    assert plan.std == pytest.approx(np.arange(100).std())
    assert plan.percentile_low == pytest.approx(np.percentile(np.arange(100), 0.5))


@pytest.mark.parametrize(("intensity", "channels"), [("mr", 1), ("hu", 2), ("unknown", 1)])
def test_what_is_not_plain_ct_is_normalised_by_itself(intensity: str, channels: int) -> None:
    told = facts((4, 10, 10), (1, 1, 1), intensity=intensity, channels=channels)
    assert plan_for(told, plan=PUBLISHED_PLAN)[0].normalisation == "zscore"


def test_spacing_and_window_may_be_given() -> None:
    plan, poolings = plan_for(
        facts((40, 40, 40), (1, 1, 1)), plan=PUBLISHED_PLAN, spacing=[2.0, 1.0, 1.0], patch_size=[12, 24, 24]
    )
    assert plan.spacing == (2.0, 1.0, 1.0)
    assert plan.patch_size == (12, 24, 24)
    assert with_settings(plan, poolings=poolings, spacing=[], patch_size=[12, 24, 24]) == plan


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

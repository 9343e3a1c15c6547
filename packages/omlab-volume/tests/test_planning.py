"""Plans fit the cases they are made of, and what a user may give."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab import About
from omlab.errors import SettingsError, TrainingError
from omlab_volume.inference.preprocess import Plan
from omlab_volume.training.planning import LARGEST_PATCH, plan_for, poolings_for, spacing_of, window_of
from omlab_volume.training.targets import channels_of, label_values, labels_of, mirrored_axes, volume_name

OWN = Plan(spacing=(1.5, 1.5, 1.5), patch_size=(128, 128, 128))
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
    assert len(poolings) <= 5
    for size, axis in zip(patch, zip((1, 1, 1), *poolings, strict=True), strict=True):
        assert size % prod(axis) == 0
        assert prod(axis) == 1 or size // prod(axis) >= 4


@settings(max_examples=50, deadline=None)
@given(shape=TRIPLE.filter(lambda s: prod(s) < 10**6), spacing=SPACING)
def test_the_window_fits_the_case(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> None:
    plan = plan_for(facts(shape, spacing, intensity="mr"), plan=OWN)
    poolings = poolings_for(plan.patch_size, plan.spacing or ())
    assert plan.spacing == pytest.approx(spacing)
    assert prod(plan.patch_size) <= LARGEST_PATCH
    for size, window, axis in zip(shape, plan.patch_size, zip((1, 1, 1), *poolings, strict=True), strict=True):
        assert window % prod(axis) == 0
        assert window <= max(4, 2 * size)


def test_coarse_axes_are_pooled_later() -> None:
    assert poolings_for((32, 128, 128), (5.0, 1.0, 1.0)) == [(1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2)]


def test_ct_is_normalised_by_its_labelled_voxels() -> None:
    plan = plan_for(facts((4, 10, 10), (1, 1, 1)), plan=OWN)
    assert plan.normalisation == "ct"
    assert plan.mean == pytest.approx(49.5)
    assert plan.std == pytest.approx(np.arange(100).std())
    assert plan.percentile_low == pytest.approx(np.percentile(np.arange(100), 0.5))


@pytest.mark.parametrize(("intensity", "channels"), [("mr", 1), ("hu", 2), ("unknown", 1)])
def test_what_is_not_plain_ct_is_normalised_by_itself(intensity: str, channels: int) -> None:
    told = facts((4, 10, 10), (1, 1, 1), intensity=intensity, channels=channels)
    assert plan_for(told, plan=OWN).normalisation == "zscore"


def test_spacing_and_window_may_be_given() -> None:
    plan = plan_for(facts((40, 40, 40), (1, 1, 1)), plan=OWN, spacing=[2.0, 1.0, 1.0], patch_size=[12, 24, 24])
    assert plan.spacing == (2.0, 1.0, 1.0)
    assert plan.patch_size == (12, 24, 24)


def test_without_facts_the_plan_stays_but_for_what_is_given() -> None:
    assert plan_for({}, plan=OWN) == OWN
    assert plan_for({}, plan=OWN, patch_size=[8, 8, 16]).patch_size == (8, 8, 16)


@pytest.mark.parametrize("wrong", [[1, 2], ["a", 1, 1], [0, 1, 1], [True, 1, 1], [float("nan"), 1, 1]])
def test_a_wrong_spacing_is_one_sentence(wrong: list[Any]) -> None:
    with pytest.raises(SettingsError, match=r"spacing is .* three numbers above 0"):
        spacing_of(wrong)
    with pytest.raises(SettingsError, match=r"patch_size is .* three whole numbers above 0"):
        window_of(wrong)


def test_targets_are_told_by_the_data() -> None:
    about = About(
        inputs={"ct": "volume", "prompts": "prompts"},
        target="labelmap",
        classes={0: "background", 1: "left lung", 3: "heart", 255: "ignored"},
        ignored=(255,),
        channels={"ct": ("a", "b")},
    )
    assert (volume_name(about), channels_of(about), label_values(about)) == ("ct", 2, [1, 3])
    labels = labels_of(about)
    assert [label.name for label in labels] == ["left lung", "heart"]
    assert (mirrored_axes(labels), mirrored_axes(labels[1:])) == ((0, 1), (0, 1, 2))
    with pytest.raises(TrainingError, match=r"one volume a case, but these have a \(image\)"):
        volume_name(About(inputs={"a": "image"}))
    with pytest.raises(TrainingError, match="names no classes"):
        labels_of(About(inputs={"ct": "volume"}, classes={0: "background"}))

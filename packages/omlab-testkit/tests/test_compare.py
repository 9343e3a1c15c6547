from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from omlab_testkit.compare import ROUNDING, Tolerance, all_finite, difference, fingerprint


@dataclass(frozen=True, eq=False)
class Thing:
    array: np.ndarray
    name: str = "a"
    notes: tuple = (1, {"x": 2.0})
    source: str = "here"


THING = Thing(np.array([[1.0, np.nan], [3.0, 4.0]]))


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"array": THING.array[:1]}, "shape"),
        ({"array": THING.array + 1e-3}, "off by"),
        ({"array": np.nan_to_num(THING.array)}, "NaN"),
        ({"name": "b"}, "name of it"),
        ({"notes": (1, {"x": 2.5})}, "x of 1 of notes of it is 2.5"),
        ({"notes": (1, {"y": 2.0})}, "has"),
        ({"notes": [1, {"x": 2.0}]}, "is a list, not a tuple"),
        ({"source": "there"}, "source"),
    ],
)
def test_each_change_is_found_and_named(changes, where):
    other = replace(THING, **changes)
    assert where in difference(other, THING)
    assert fingerprint(other) != fingerprint(THING)


def test_equal_things_have_no_difference_and_one_fingerprint():
    other = replace(THING, array=THING.array.copy())
    assert difference(other, THING) == ""
    assert fingerprint(other) == fingerprint(THING)
    assert difference(replace(THING, source="there"), THING, ignore=frozenset({"source"})) == ""


def test_tensors_are_compared_with_arrays():
    assert difference(torch.tensor([1, 2]), np.array([1, 2])) == ""
    assert difference(torch.tensor([1.0], dtype=torch.bfloat16), np.array([1.0])) == ""
    assert "50.00%" in difference(torch.tensor([1, 3]), np.array([1, 2]))


def test_labels_may_differ_at_ties_only():
    labels = np.zeros(10_000, np.uint8)
    other = labels.copy()
    other[:10] = 1
    assert difference(other, labels, tolerance=ROUNDING) == ""
    other[:11] = 1
    assert difference(other, labels, tolerance=ROUNDING) != ""


@settings(max_examples=25, deadline=None)
@given(array=arrays(np.float32, (3, 2), elements=st.floats(-1e3, 1e3, width=32)), off=st.floats(1e-3, 1.0))
def test_the_tolerance_is_relative_to_the_largest_value(array, off):
    largest = float(np.abs(array).max())
    shifted = array.astype(np.float64) + off * max(largest, 1e-3)
    assert difference(shifted, array.astype(np.float64), tolerance=Tolerance(relative=off / 2)) != ""
    if largest >= 1e-3:
        assert difference(shifted, array.astype(np.float64), tolerance=Tolerance(relative=off * 1.01)) == ""


@pytest.mark.parametrize("value", [np.array([np.inf]), float("nan"), {"a": [1, np.array([np.nan])]}])
def test_what_is_not_finite_is_found_at_any_depth(value):
    assert not all_finite(value)
    assert all_finite({"a": [1, "x", None, np.array([1.0]), np.array([1])]})

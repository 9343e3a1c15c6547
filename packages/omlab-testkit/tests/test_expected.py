from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from omlab_testkit.expected import among, answer_parts, changed, check_notices, difference


@pytest.mark.parametrize(
    ("found", "expected", "far"),
    [
        (1.5, 1.0, 0.5),
        (0.5, 0.0, 0.5),
        ([1.0, 3.0], [1.0, 2.0], 2.0),  # their standard deviation is 0.5
        ([2.0, 1.0], [1.0, 1.0], 1.0),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]], 0.0),
        ((1, "a"), [1, "b"], 1.0),
        ([1, 2], [1, 2, 3], 1.0),
        ({"a": 1.0, "b": 100.0}, {"a": 2.0, "b": 100.0}, 0.5),
        ({"a": 1.0}, {"a": 1.0, "b": 1.0}, 1.0),
        ([{"a": [1, 1]}], [{"a": [1, 2]}], 2.0),
        ({"x"}, {"x", "y"}, 1.0),
        (None, [1.0], 1.0),
        (1, True, 0.0),
        (None, None, 0.0),
        (math.nan, 1.0, math.inf),
        ([], [], 0.0),
    ],
)
def test_differences(found: Any, expected: Any, far: float) -> None:
    assert difference(found, expected) == pytest.approx(far)


def test_parts_without_an_answer_are_named() -> None:
    answers = {"sum": lambda part, case: difference(sum(case["of"]), part)}
    assert answer_parts({"of": [1, 2], "sum": 3}, answers, about={"of"}) == {"sum": 0.0}
    with pytest.raises(KeyError, match="product"):
        answer_parts({"of": [1, 2], "sum": 3, "product": 2}, answers, about={"of"})


CASE = {"of": [1, 2], "sums": [{"sum": 3, "names": ["a", None]}], "many": {"value": [0.0, 1, 2, 3, 4]}}


def test_every_expectation_is_changed_once() -> None:
    places = dict(changed(CASE, expected={"sum", "names", "value"}))
    assert list(places) == [
        "sums/0/sum",
        "sums/0/names/0",
        "sums/0/names/1",
        "many/value/0",
        "many/value/2",
        "many/value/4",
    ]
    assert places["sums/0/sum"]["sums"][0]["sum"] == 4
    assert CASE["sums"][0]["sum"] == 3  # type: ignore[index]


def test_a_check_that_does_not_look_is_found_out() -> None:
    assert check_notices(lambda case: {"sums": difference(3, case["sums"][0]["sum"])}, CASE, expected={"sum"}) == 1
    with pytest.raises(AssertionError, match="sums/0/sum"):
        check_notices(lambda case: {"sums": 0.0}, CASE, expected={"sum"})


def test_a_part_is_compared_by_name_without_its_inputs():
    part = {"size": 7, "mean": 2.0, "std": 1.0}
    assert among({"mean": 2.0, "std": 1.5, "more": 0}, part, about={"size"}) == pytest.approx(0.5)
    with pytest.raises(KeyError, match="std"):
        among({"mean": 2.0}, part, about={"size"})

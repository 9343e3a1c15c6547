"""Schedules against the formulas that they name."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab_train.schedules import constant, cosine, linear, poly


def test_the_poly_rate_of_nnunet() -> None:
    rates = [0.01 * poly(step // 5 * 5, steps=20) for step in range(20)]
    assert rates[:5] == [0.01] * 5
    assert rates[5] == pytest.approx(0.01 * 0.75**0.9)
    assert rates[19] == pytest.approx(0.01 * 0.25**0.9)
    assert poly(20, steps=20) == 0


def test_the_cosine_with_a_rise() -> None:
    factors = [cosine(step, steps=110, warmup=10, final=0.1) for step in range(111)]
    assert factors[:10] == pytest.approx([(n + 1) / 10 for n in range(10)])
    assert factors[10] == 1
    assert factors[60] == pytest.approx(0.55)
    assert factors[35] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert factors[110] == pytest.approx(0.1)


def test_the_straight_ones() -> None:
    assert [constant(step, steps=6, warmup=4) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert [linear(step, steps=4) for step in range(5)] == [1, 0.75, 0.5, 0.25, 0]
    assert [linear(step, steps=6, warmup=2, final=0.5) for step in (0, 1, 2, 4, 6)] == [0.5, 1, 1, 0.75, 0.5]


@settings(max_examples=50)
@given(st.sampled_from([constant, cosine, linear]), st.integers(1, 500), st.data())
def test_none_leaves_its_range(schedule: object, steps: int, data: st.DataObject) -> None:
    warmup = data.draw(st.integers(0, steps))
    factors = [schedule(step, steps=steps, warmup=warmup) for step in range(steps + 1)]  # type: ignore[operator]
    assert all(-1e-12 <= factor <= 1 for factor in factors)
    assert all(factor > 0 for factor in factors[:warmup])
    assert all(
        later <= earlier + 1e-12 for earlier, later in zip(factors[warmup:], factors[warmup + 1 :], strict=False)
    )


def test_what_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match=r"step 5 is not one of 0\.\.4"):
        poly(5, steps=4)
    with pytest.raises(ValueError, match="rise over 5 steps"):
        cosine(0, steps=4, warmup=5)

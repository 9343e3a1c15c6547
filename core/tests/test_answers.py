"""Cases answered one by one: lazily, and one that fails leaves the others alone."""

from __future__ import annotations

import pytest

from omlab.answers import one_by_one
from omlab.errors import InputError


def test_a_case_that_fails_stands_in_its_place() -> None:
    asked: list[int] = []

    def answer(number: int) -> int:
        asked.append(number)
        if number == 2:
            raise InputError("two is refused.")
        if number == 4:
            raise ZeroDivisionError("a bug")
        return -number

    found = one_by_one([1, 2, 3, 4], answer)
    assert (next(found), asked) == (-1, [1])
    assert str(next(found)) == "two is refused."
    assert next(found) == -3
    with pytest.raises(ZeroDivisionError):  # a bug is no failure of a case
        next(found)

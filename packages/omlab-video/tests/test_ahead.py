"""Frames come in their order while more are made; a thread ends with what asked for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from omlab_video.ahead import ahead


def numbers(made: list[int], *, fail_at: int = 99) -> Iterator[int]:
    for number in range(40):
        if number == fail_at:
            raise OSError("the disk is gone")
        made.append(number)
        yield number


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name == "omlab-frames"]


def test_order_is_kept_and_only_some_are_held() -> None:
    made: list[int] = []
    items = ahead(numbers(made), held=3)
    first = next(items)
    assert first == 0
    assert len(made) <= 6
    assert list(items) == list(range(1, 40))
    assert not threads()


def test_what_fails_is_raised_where_it_is_asked_for() -> None:
    items = ahead(numbers([], fail_at=2), held=3)
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(OSError, match="the disk is gone"):
        next(items)
    assert not threads()


def test_a_thread_ends_when_no_more_is_wanted() -> None:
    items = ahead(numbers([]), held=2)
    next(items)
    items.close()  # type: ignore[attr-defined]
    assert not threads()

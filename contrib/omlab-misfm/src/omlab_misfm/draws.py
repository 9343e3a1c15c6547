"""Where random numbers come from: a `random.Random`, or a recording of one."""

from __future__ import annotations

from typing import Any, Protocol


class Draws(Protocol):
    """What is asked of `random.Random`; the order of the calls is part of each function that draws."""

    def random(self) -> float:
        """In [0, 1)."""
        ...

    def uniform(self, a: float, b: float) -> float:
        """Between `a` and `b`."""
        ...

    def randint(self, a: int, b: int) -> int:
        """`a` to `b`, both included."""
        ...

    def shuffle(self, x: list[Any]) -> None:
        """In place."""
        ...

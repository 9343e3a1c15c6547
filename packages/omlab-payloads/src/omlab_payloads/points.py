"""The kind `points`: landmarks, each a name and a position."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from omlab_payloads import checked
from omlab_payloads.positions import Position, Space, all_finite, checked_position, checked_space, lie_in


@dataclass(frozen=True, kw_only=True)
class Point:
    """A named position, and how sure it is (None: not known)."""

    name: str
    at: Position
    score: float | None = None


@dataclass(frozen=True, kw_only=True)
class Points:
    """The landmarks of one case, of two numbers in `pixel` space, of three in `voxel` and `world` space.

    A name may occur several times. Raises `UsageError` where a position has another count of numbers.
    """

    kind: ClassVar[str] = "points"

    space: Space
    points: Sequence[Point] = ()

    def __post_init__(self) -> None:
        space = checked_space(self.space)
        object.__setattr__(self, "points", tuple(_checked(point, space) for point in self.points))

    @property
    def nbytes(self) -> int:
        """About the bytes of the numbers."""
        return 32 * len(self.points)

    def is_finite(self) -> bool:
        """Whether no number is NaN or infinite."""
        known = all(math.isfinite(point.score or 0.0) for point in self.points)
        return known and all_finite(point.at for point in self.points)

    def same_frame(self, other: Any) -> bool:
        """Whether the points can lie in `other`: `omlab_payloads.positions.lie_in`."""
        return lie_in((point.at for point in self.points), other, space=self.space)

    def to_value(self) -> dict[str, Any]:
        """JSON, of which `from_value` makes it again."""
        return {"space": self.space, "points": [_value(point) for point in self.points]}

    @classmethod
    def from_value(cls, value: Any) -> Points:
        """The points of `{"space": ..., "points": [{"name": ..., "at": ..., "score": ...}]}`. Raises `UsageError`."""
        found = checked.fields(value, required=("space", "points"), known=(), what="A case's points")
        rows = enumerate(checked.entries(found["points"], name="points"), start=1)
        return cls(space=found["space"], points=[_point(row, number) for number, row in rows])


def _checked(point: Point, space: Space) -> Point:
    at = checked_position(point.at, space=space, what=f"The point '{point.name}'")
    return Point(name=str(point.name), at=at, score=None if point.score is None else float(point.score))


def _value(point: Point) -> dict[str, Any]:
    value = {"name": point.name, "at": [checked.plain(x) for x in point.at]}
    return value if point.score is None else value | {"score": checked.plain(point.score)}


def _point(row: Any, number: int) -> Point:
    found = checked.fields(row, required=("name", "at"), known=("score",), what=f"Point {number}")
    score = found.get("score")
    return Point(
        name=checked.text(found["name"], name="name"),
        at=tuple(checked.numbers(found["at"], name="at")),
        score=None if score is None else checked.number(score, name="score"),
    )

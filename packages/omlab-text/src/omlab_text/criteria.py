"""The kind `criteria`: what an answer is judged by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from omlab.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """Something that an answer does or does not do.

    Attributes:
        text: What it is, as a judge reads it.
        points: What an answer earns that meets it; below 0 for a fault. Never 0.
        tags: What it is about, such as `accuracy`.
        marks: Whether experts find it met, by who they are; where that is known, of one certain answer.
    """

    text: str
    points: float
    tags: tuple[str, ...] = ()
    marks: Mapping[str, bool] = field(default_factory=dict)

    def to_value(self) -> dict[str, Any]:
        """JSON, of which `from_value` makes it again."""
        value: dict[str, Any] = {"criterion": self.text, "points": self.points}
        if self.tags:
            value["tags"] = list(self.tags)
        return value | ({"experts": dict(self.marks)} if self.marks else {})

    @classmethod
    def from_value(cls, value: Any) -> Criterion:
        """The criterion of an object with `criterion`, `points`, and perhaps `tags` and `experts`.

        Raises `InputError` that names the field.
        """
        row = value if isinstance(value, Mapping) else {}
        text, points = row.get("criterion"), row.get("points")
        if not isinstance(text, str) or not text.strip():
            raise InputError("criterion: it must be a text that is not empty.")
        is_number = isinstance(points, int | float) and not isinstance(points, bool) and math.isfinite(points)
        if not is_number or not points:
            raise InputError(f"points: they are {points!r:.40}, but must be a number other than 0.")
        marks = row.get("experts") or {}
        if not isinstance(marks, Mapping) or not all(isinstance(mark, bool) for mark in marks.values()):
            raise InputError("experts: they must be an object that says true or false of each.")
        return cls(text=text, points=float(points), tags=tags_in(row, "tags"), marks=dict(marks))


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """What an answer is judged by, in the order in which it is asked for.

    Raises `InputError` where no criterion gives points: there is nothing to earn.
    """

    kind: ClassVar[str] = "criteria"

    criteria: tuple[Criterion, ...]

    def __post_init__(self) -> None:
        if not any(criterion.points > 0 for criterion in self.criteria):
            raise InputError("criteria: none of them gives points, so that there is nothing to earn.")

    @property
    def nbytes(self) -> int:
        """About the bytes of its characters."""
        return 4 * sum(len(criterion.text) for criterion in self.criteria)

    def to_value(self) -> dict[str, Any]:
        """JSON, of which `from_value` makes it again."""
        return {"criteria": [criterion.to_value() for criterion in self.criteria]}

    @classmethod
    def from_value(cls, value: Any) -> Criteria:
        """The criteria of a list, or of a row with `criteria`. Raises `InputError` that names the field."""
        rows = value.get("criteria") if isinstance(value, Mapping) else value
        return cls(criteria=criteria_in(rows))


def criteria_in(rows: Any) -> tuple[Criterion, ...]:
    """The criteria of a list. Raises `InputError` that names the criterion and the field."""
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        raise InputError("criteria: they must be a list of objects with criterion and points.")
    found = []
    for number, row in enumerate(rows, start=1):
        try:
            found.append(Criterion.from_value(row))
        except InputError as error:
            raise InputError(f"criterion {number}: {error}") from None
    return tuple(found)


def tags_in(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The tags of a row. Raises `InputError` where they are no list of texts."""
    found = row.get(name) or []
    if not isinstance(found, list) or not all(isinstance(tag, str) and tag for tag in found):
        raise InputError(f"{name}: they must be a list of texts.")
    return tuple(dict.fromkeys(found))

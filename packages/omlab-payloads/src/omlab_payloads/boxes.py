"""The kind `boxes`: what was found where, as boxes along the axes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from omlab.errors import UsageError
from omlab.payloads import Inputs, Payload, describe
from omlab_payloads import checked
from omlab_payloads.positions import Position, Space, all_finite, checked_position, checked_space, lie_in


@dataclass(frozen=True, kw_only=True)
class Box:
    """A box by two opposite corners, `near` with the smaller numbers; what it is, and how sure (None: not known).

    `crowd`: in a reference, it is around several things that cannot be told apart (as COCO's annotations say it).
    """

    near: Position
    far: Position
    label: str = ""
    score: float | None = None
    crowd: bool = False


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """The boxes of one case, of two numbers a corner in `pixel` space, of three in `voxel` and `world` space.

    Corners are positions (`omlab_payloads.positions.Space`): a box around pixels 3 to 5 goes from 2.5 to 5.5.

    Raises `UsageError` where corners have another count of numbers, or are not in order.
    """

    kind: ClassVar[str] = "boxes"

    space: Space
    boxes: Sequence[Box] = ()

    def __post_init__(self) -> None:
        space = checked_space(self.space)
        object.__setattr__(
            self, "boxes", tuple(_checked(box, number, space) for number, box in enumerate(self.boxes, 1))
        )

    @property
    def nbytes(self) -> int:
        """About the bytes of the numbers."""
        return 64 * len(self.boxes)

    def is_finite(self) -> bool:
        """Whether no number is NaN or infinite."""
        return all_finite(self._corners()) and all(math.isfinite(box.score or 0.0) for box in self.boxes)

    def same_frame(self, other: Any) -> bool:
        """Whether the boxes can lie in `other`: `omlab_payloads.positions.lie_in`."""
        return lie_in(self._corners(), other, space=self.space)

    def overlay(self, inputs: Inputs, *, target: Payload | None = None) -> bytes:
        """A PNG of the input that can mark boxes (it has `with_boxes`), with these and what `target` has.

        Raises `UsageError` where no input can.
        """
        for payload in inputs.values():
            marked = getattr(payload, "with_boxes", None)
            if marked is not None and self.same_frame(payload):
                return cast(bytes, marked(self, target=target))
        given = ", ".join(describe(payload) for payload in inputs.values()) or "nothing"
        raise UsageError(
            f"Boxes in {self.space} space are drawn over an input that they lie in, but {given} was given."
        )

    def _corners(self) -> Iterator[Position]:
        return (corner for box in self.boxes for corner in (box.near, box.far))

    def to_value(self) -> dict[str, Any]:
        """JSON, of which `from_value` makes it again."""
        return {"space": self.space, "boxes": [_value(box) for box in self.boxes]}

    @classmethod
    def from_value(cls, value: Any) -> Boxes:
        """The boxes of `{"space": ..., "boxes": [{"near": ..., "far": ..., "label": ..., "score": ...}]}`.

        Raises `UsageError`.
        """
        found = checked.fields(value, required=("space", "boxes"), known=(), what="A case's boxes")
        rows = enumerate(checked.entries(found["boxes"], name="boxes"), start=1)
        return cls(space=found["space"], boxes=[_box(row, number) for number, row in rows])


def _checked(box: Box, number: int, space: Space) -> Box:
    near, far = (checked_position(at, space=space, what=f"A corner of box {number}") for at in (box.near, box.far))
    if any(a > b for a, b in zip(near, far, strict=True)):
        raise UsageError(
            f"Box {number} goes from {list(near)} to {list(far)}: no number of its near corner may be larger."
        )
    score = None if box.score is None else float(box.score)
    return Box(near=near, far=far, label=str(box.label), score=score, crowd=bool(box.crowd))


def _value(box: Box) -> dict[str, Any]:
    value: dict[str, Any] = {name: [checked.plain(x) for x in getattr(box, name)] for name in ("near", "far")}
    if box.label:
        value["label"] = box.label
    if box.crowd:
        value["crowd"] = True
    return value if box.score is None else value | {"score": checked.plain(box.score)}


def _box(row: Any, number: int) -> Box:
    found = checked.fields(row, required=("near", "far"), known=("label", "score", "crowd"), what=f"Box {number}")
    near, far = (tuple(checked.numbers(found[name], name=name)) for name in ("near", "far"))
    score = found.get("score")
    return Box(
        near=near,
        far=far,
        label=checked.text(found.get("label", ""), name="label"),
        score=None if score is None else checked.number(score, name="score"),
        crowd=checked.flag(found.get("crowd", False), name="crowd"),
    )

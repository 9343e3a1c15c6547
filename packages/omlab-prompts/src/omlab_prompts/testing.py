"""Example prompts for the test kit, and prompts that point at what a payload shows.

`prompts_for` works with any payload on a lattice in space: an `affine`, a shape (of its `grid`, or its own), and for
targets an `array` of that shape and `labels` with `value` and `name`, as far as there are some. Of an image of two
dimensions (a `shape` of two numbers) it makes pixels. `present` of a target (value to name) goes before `labels`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omlab_prompts.positions import LPS_TO_RAS
from omlab_prompts.prompts import Box, Object, Point, Prompts, Space
from omlab_prompts.simulation import ClickScores

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMAGE = "example"
"""The name of an image that has none."""


def example_prompts() -> list[Prompts]:
    """Points, boxes and text, in RAS+, in LPS+, in voxels and in pixels of an image called `example`."""
    points = (Point(at=(1.5, 2, 3)), Point(at=(-4, 5.25, 6), label=0))
    box = Box(near=(-1, -2, -3), far=(1, 2, 3.5))
    return [
        Prompts(space="ras", objects=(Object(name="organ", points=points),)),
        Prompts(
            space="lps", objects=(Object(name="bone", boxes=(box,)), Object(name="organ", text=("the left kidney",)))
        ),
        Prompts(space="voxel", image=IMAGE, objects=(Object(name="organ", points=(Point(at=(2, 3, 4)),)),)),
        Prompts(
            space="pixel",
            image=IMAGE,
            objects=(Object(name="organ", points=(Point(at=(2, 3)),), boxes=(Box(near=(1, 2), far=(3.5, 4)),)),),
        ),
    ]


def odd_prompts() -> dict[str, Prompts]:
    """Far away, two thousand clicks, twenty objects, a box of one point, a name that a spreadsheet would run."""
    spiral = tuple(Point(at=(math.cos(n), math.sin(n), n / 100), label=n % 2) for n in range(2000))  # type: ignore[arg-type]
    dot = Box(near=(1, 2, 3), far=(1, 2, 3))
    return {
        "far-away": Prompts(space="ras", objects=(Object(name="a", points=(Point(at=(1e6, -1e6, 1e6)),)),)),
        "many-clicks": Prompts(space="ras", objects=(Object(name="a", points=spiral),)),
        "many-objects": Prompts(
            space="ras", objects=tuple(Object(name=f"object {n}", points=spiral[n : n + 1]) for n in range(20))
        ),
        "dot": Prompts(space="ras", objects=(Object(name="=1+1", boxes=(dot,)),)),
    }


def example_click_scores() -> list[ClickScores]:
    """Two objects and two rounds, three times."""
    return [
        ClickScores(
            rows=[
                {"object": name, "round": number, "dice": 1 - 0.5 / (number + case)}
                for number in (1, 2)
                for name in ("organ", "bone")
            ]
        )
        for case in range(3)
    ]


def odd_click_scores() -> dict[str, ClickScores]:
    """None at all, a Dice that is not defined and a name that a spreadsheet would run, further columns."""
    return {
        "none": ClickScores(rows=()),
        "undefined": ClickScores(rows=[{"object": "=1+1", "round": 1, "dice": None}]),
        "more": ClickScores(rows=[{"object": "7", "round": 1, "dice": 0.5, "at": "1, 2", "seconds": 0.25}]),
    }


def prompts_for(payload: Any, target: Any | None = None, *, space: Space = "voxel") -> Prompts:
    """For each label of `target` a click deep in it, the box around it, and its name; without labels for the middle.

    In voxels, and in pixels, they name the image as the payload's `name` does, or `example`.
    """
    import numpy as np

    shape = getattr(payload, "grid", payload).shape
    places: Mapping[str, NDArray[Any]] = {"the middle": np.array([[(n - 1) // 2 for n in shape]])}
    if target is not None and target.array.any():
        present = getattr(target, "present", None)
        names = present() if present else {label.value: label.name for label in getattr(target, "labels", ())}
        values = [int(value) for value in np.unique(target.array) if value]
        places = {names.get(value, f"label {value}"): np.argwhere(target.array == value) for value in values}
    if len(shape) == 2:
        flat = tuple(_pointed(name, found[:, ::-1]) for name, found in places.items())
        return Prompts(space="pixel", image=getattr(payload, "name", None) or IMAGE, objects=flat)
    objects = tuple(_pointed(name, found) for name, found in places.items())
    found = Prompts(space="voxel", image=getattr(payload, "name", None) or IMAGE, objects=objects)
    if space == "voxel":
        return found
    world = found.in_world(payload.affine)
    return world if space == "ras" else world.moved(LPS_TO_RAS, space="lps", image=world.image)  # its own inverse


def _pointed(name: str, places: NDArray[Any]) -> Object:
    gap = ((places - places.mean(axis=0)) ** 2).sum(axis=1)
    at = tuple(float(n) for n in places[gap.argmin()])
    near, far = (tuple(float(n) for n in corner) for corner in (places.min(axis=0), places.max(axis=0)))
    return Object.model_validate(
        {"name": name, "points": [{"at": at}], "boxes": [{"near": near, "far": far}], "text": [name]}
    )

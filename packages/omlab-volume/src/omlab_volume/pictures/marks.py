"""Prompts as marks in planes: clicks and boxes, drawn as `omlab_payloads.pictures.marks` draws them.

Marks within `ON_PLANE` mm (or half a voxel) of a
plane are solid, those within `NEAR` mm faint and smaller, further ones are left out. A box is drawn dashed where a
plane cuts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from omlab.errors import GeometryError
from omlab_payloads.colours import Colour, default_colour
from omlab_payloads.pictures.marks import SCALE, draw_click, draw_dashed
from omlab_payloads.pictures.words import INK, write
from omlab_volume.geometry import Grid
from omlab_volume.labels import Label
from omlab_volume.orientation import canonical_grid
from omlab_volume.pictures.planes import Panel

ON_PLANE = 1.5
NEAR = 10.0

BOX = "box"
"""What the legend calls a box without a label."""

Voxel = tuple[float, float, float]

_CORNERS = ((9, -9, "ls"), (-9, -9, "rs"), (9, 9, "lt"), (-9, 9, "rt"))  # of a mark, the first where all are as good


@dataclass(frozen=True, kw_only=True)
class Click:
    """A click in voxels along the RAS+ axes."""

    at: tuple[float, float, float]
    inside: bool
    colour: Colour
    number: str = ""


@dataclass(frozen=True, kw_only=True)
class Box:
    """A box in voxels along the RAS+ axes."""

    near: tuple[float, float, float]
    far: tuple[float, float, float]
    colour: Colour


@dataclass(frozen=True, kw_only=True)
class Marks:
    """The marks of all prompts of a case, and of boxes that were found; `names` are the colours of these."""

    clicks: tuple[Click, ...] = ()
    boxes: tuple[Box, ...] = ()
    names: Mapping[str, Colour] = field(default_factory=dict)

    @property
    def first(self) -> tuple[float, float, float] | None:
        """The voxel of the first click, else the middle of the first box; None where there is neither."""
        if self.clicks:
            return self.clicks[0].at
        if self.boxes:
            x, y, z = (float(n) for n in np.add(self.boxes[0].near, self.boxes[0].far) / 2)
            return (x, y, z)
        return None


def marks_of(prompts: Sequence[Any], *, grid: Grid, labels: Sequence[Label], found: Any = None) -> Marks:
    """The clicks and boxes of payloads of kind `prompts` (those of omlab-prompts) that belong to an image on `grid`.

    Label n is taken as the n-th object, whose marks have its colour. `found` are boxes that a model gave (a payload of
    kind `boxes` of omlab-payloads), each label with a colour of its own. Raises `GeometryError` where a prompt lies
    outside, or `found` are boxes in pixels.
    """
    colours = {label.value: label.colour for label in labels}
    clicks, boxes = [], []
    canonical = canonical_grid(grid)
    for payload in prompts:
        world = payload.in_world(grid.affine.tolist())
        placed = world.in_voxels(canonical.affine.tolist(), shape=canonical.shape, image=payload.image or "the volume")
        for n, entry in enumerate(placed.objects, start=1):
            colour = colours.get(n) or INK
            boxes += [Box(near=box.near, far=box.far, colour=colour) for box in entry.boxes]
            clicks += [
                Click(
                    at=point.at,
                    inside=point.label == 1,
                    colour=colour,
                    number=str(count) if len(entry.points) > 1 else "",
                )
                for count, point in enumerate(entry.points, start=1)
            ]
    names = {} if found is None else _colours_of(found)
    if found is not None:
        boxes += [
            Box(near=near, far=far, colour=names[box.label or BOX])
            for box, (near, far) in zip(found.boxes, _placed(found, grid), strict=True)
        ]
    return Marks(clicks=tuple(clicks), boxes=tuple(boxes), names=names)


def _colours_of(found: Any) -> dict[str, Colour]:
    """A colour for each label of boxes, in their order."""
    labels = dict.fromkeys(box.label or BOX for box in found.boxes)
    return {label: default_colour(n) for n, label in enumerate(labels, start=1)}


def _placed(found: Any, grid: Grid) -> list[tuple[Voxel, Voxel]]:
    """The corners of boxes in voxels along the closest RAS+ axes: the boxes around them where they are oblique."""
    if found.space == "pixel":
        raise GeometryError("Boxes in pixels cannot be drawn over a volume.")
    affine = grid.affine if found.space == "voxel" else np.eye(4)
    turned = np.linalg.inv(canonical_grid(grid).affine) @ affine
    placed = []
    for box in found.boxes:
        corners = np.array([*product(*zip(box.near, box.far, strict=True))]) @ turned[:3, :3].T + turned[:3, 3]
        (a, b, c), (d, e, f) = corners.min(0).tolist(), corners.max(0).tolist()
        placed.append(((a, b, c), (d, e, f)))
    return placed


def draw_marks(picture: Image.Image, panel: Panel, marks: Marks) -> None:
    """The marks that are on or near the plane, drawn over its RGBA `picture`."""
    layer = Image.new("RGBA", (picture.width * SCALE, picture.height * SCALE))
    draw = ImageDraw.Draw(layer)
    for box in marks.boxes:
        _draw_box(draw, panel, box)
    near = sorted(((_distance(panel, click.at), click) for click in marks.clicks), key=lambda pair: -pair[0])
    near = [(distance, click) for distance, click in near if distance <= NEAR]
    for distance, click in near:
        x, y = panel.place(click.at)
        is_faint = distance > _half(panel)
        draw_click(draw, (x * SCALE, y * SCALE), is_inside=click.inside, colour=click.colour, is_faint=is_faint)
    picture.alpha_composite(layer.reduce(SCALE))
    text = ImageDraw.Draw(picture)
    for distance, click in near:
        if click.number and distance <= _half(panel):
            at, anchor = _beside(panel.place(click.at), [panel.place(other.at) for _, other in near])
            write(text, at, click.number, size=12, anchor=anchor)


def _beside(at: tuple[float, float], others: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], str]:
    """Where the number of a mark goes, and how it is anchored: in the corner that is furthest from all other marks."""
    corners = [((at[0] + dx, at[1] + dy), anchor) for dx, dy, anchor in _CORNERS]
    rest = [other for other in others if other != at]
    return max(corners, key=lambda corner: min((np.hypot(*np.subtract(corner[0], o)) for o in rest), default=0.0))


def _half(panel: Panel) -> float:
    """How far from a plane, in mm, something is said to lie on it."""
    return max(ON_PLANE, panel.spacing[panel.normal] / 2)


def _distance(panel: Panel, at: Sequence[float]) -> float:
    return abs(at[panel.normal] - panel.index[panel.normal]) * panel.spacing[panel.normal]


def _draw_box(draw: ImageDraw.ImageDraw, panel: Panel, box: Box) -> None:
    """The cut of a box: dashes of its object's colour on a dark line."""
    at = panel.index[panel.normal]
    if not box.near[panel.normal] - 0.5 <= at <= box.far[panel.normal] + 0.5:
        return
    (right, bottom), (left, top) = panel.place(box.near), panel.place(box.far)
    draw_dashed(draw, (left * SCALE, top * SCALE), (right * SCALE, bottom * SCALE), colour=box.colour)

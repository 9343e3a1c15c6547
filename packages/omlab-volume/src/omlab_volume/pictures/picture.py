"""The picture of a prediction (`omlab predict --overlay`): three planes with the prompts marked, as a PNG.

The planes go through the first prompt, or the middle of what is labelled. A click in the object is a bright disc
with a plus, one outside it a dark square with a minus: they differ in shape, brightness and sign, so that no colour
has to be told from another. Marks within `ON_PLANE` mm (or half a voxel) of a plane are solid, those within
`NEAR` mm faint and smaller, further ones are left out. A box is drawn dashed where a plane cuts it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from omlab.prompts import Object, Prompts
from omlab_volume.labels import complete_labels
from omlab_volume.orientation import canonical_grid
from omlab_volume.pictures.overlay import Panel, planes
from omlab_volume.volume import Grid, Label, LabelMap, Volume

ON_PLANE = 1.5
NEAR = 10.0

_HEIGHT = 440  # of a panel
_TALLER = 2.0  # times that, at most, for a body that is much higher than deep
_WIDTH = 1800  # of the three panels, at most
_GAP, _FOOTER, _LINE = 6, 14, 22
_SCALE = 4  # marks are drawn this much larger and made smaller: smooth edges
_BACKGROUND, _INK, _FAINT = (14, 16, 20), (236, 238, 242), (150, 156, 166)
_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))
_NAMES = {2: "Axial", 1: "Coronal", 0: "Sagittal"}
_CORNERS = ((9, -9, "ls"), (-9, -9, "rs"), (9, 9, "lt"), (-9, 9, "rt"))  # of a mark, the first where all are as good
_LEGEND = 8  # names of labels at most

Colour = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class _Mark:
    """A click in voxels along the RAS+ axes."""

    at: tuple[float, float, float]
    inside: bool
    colour: Colour
    number: str


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """A box in voxels along the RAS+ axes."""

    near: tuple[float, float, float]
    far: tuple[float, float, float]
    colour: Colour


def picture(
    volume: Volume,
    labelmap: LabelMap | None = None,
    *,
    prompts: Prompts | None = None,
    window: tuple[float, float] | None = None,
) -> bytes:
    """A PNG of `volume` with the label map drawn over it and the prompts marked.

    Radiological convention, as of `omlab_volume.pictures.overlay`. Label n of the map is taken as the n-th object of
    the prompts, whose marks have its colour.

    Raises:
        GeometryError: The label map lies on another grid, or a prompt outside the volume.
    """
    objects = _placed(volume, prompts)
    marks, frames = _marks(objects, labelmap), _frames(objects, labelmap)
    grid = canonical_grid(volume.grid)
    at = _first(grid.affine, marks, frames)
    panels = planes(volume, labelmap, at=at, window=window, height=_height(grid))
    legend = _legend(panels, labelmap)
    rows = max(panel.picture.shape[0] for panel in panels)
    width = sum(panel.picture.shape[1] for panel in panels) + _GAP * (len(panels) + 1)
    canvas = Image.new("RGB", (width, rows + 2 * _GAP), _BACKGROUND)
    left = _GAP
    for panel in panels:
        top = _GAP + (rows - panel.picture.shape[0]) // 2
        canvas.paste(_drawn(panel, marks, frames, affine=grid.affine), (left, top))
        left += panel.picture.shape[1] + _GAP
    canvas = _with_footer(canvas, legend, clicks=[mark.inside for mark in marks])
    stream = io.BytesIO()
    canvas.save(stream, "PNG")
    return stream.getvalue()


def _height(grid: Grid) -> int:
    """Of the highest panel, so that neither a long body nor a broad strip makes the picture too small or too large."""
    right, anterior, superior = (float(n) for n in np.array(grid.shape) * grid.spacing)
    wanted = _HEIGHT * min(max(superior / anterior, 1), _TALLER)
    return max(1, round(min(wanted, _WIDTH * max(anterior, superior) / (2 * right + anterior))))


def _placed(volume: Volume, prompts: Prompts | None) -> tuple[Object, ...]:
    """The objects in voxels along the RAS+ axes."""
    if prompts is None:
        return ()
    grid = canonical_grid(volume.grid)
    world = prompts.in_world(volume.affine.tolist())
    return world.in_voxels(grid.affine.tolist(), shape=grid.shape, image=prompts.image or "the volume").objects


def _marks(objects: Sequence[Object], labelmap: LabelMap | None) -> list[_Mark]:
    return [
        _Mark(
            at=point.at,
            inside=point.label == 1,
            colour=_colour(labelmap, n),
            number=str(count) if len(entry.points) > 1 else "",
        )
        for n, entry in enumerate(objects, start=1)
        for count, point in enumerate(entry.points, start=1)
    ]


def _frames(objects: Sequence[Object], labelmap: LabelMap | None) -> list[_Frame]:
    return [
        _Frame(near=box.near, far=box.far, colour=_colour(labelmap, n))
        for n, entry in enumerate(objects, start=1)
        for box in entry.boxes
    ]


def _colour(labelmap: LabelMap | None, value: int) -> Colour:
    labels = complete_labels(labelmap) if labelmap is not None else []
    return next((label.colour for label in labels if label.value == value and label.colour), _INK)


def _first(affine: NDArray[np.float64], marks: Sequence[_Mark], frames: Sequence[_Frame]) -> Sequence[float] | None:
    """World position that the planes go through: the first click, else the middle of the first box."""
    if not marks and not frames:
        return None
    at = np.array(marks[0].at) if marks else np.add(frames[0].near, frames[0].far) / 2
    return [float(x) for x in (affine @ [*at, 1.0])[:3]]


def _drawn(
    panel: Panel, marks: Sequence[_Mark], frames: Sequence[_Frame], *, affine: NDArray[np.float64]
) -> Image.Image:
    picture = Image.fromarray(panel.picture).convert("RGBA")
    layer = Image.new("RGBA", (picture.width * _SCALE, picture.height * _SCALE))
    draw = ImageDraw.Draw(layer)
    _draw_cross(draw, panel)
    for frame in frames:
        _draw_frame(draw, panel, frame)
    near = sorted(((_distance(panel, mark.at), mark) for mark in marks), key=lambda pair: -pair[0])
    for distance, mark in near:
        if distance <= NEAR:
            _draw_mark(draw, panel, mark, faint=distance > _half(panel))
    picture.alpha_composite(layer.reduce(_SCALE))
    text = ImageDraw.Draw(picture)
    for distance, mark in near:
        if mark.number and distance <= _half(panel):
            at, anchor = _beside(panel.place(mark.at), [panel.place(other.at) for d, other in near if d <= NEAR])
            _write(text, at, mark.number, size=12, anchor=anchor)
    if min(picture.size) >= 90:
        _draw_words(text, panel, affine=affine)
    return picture.convert("RGB")


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


def _draw_cross(draw: ImageDraw.ImageDraw, panel: Panel) -> None:
    """Where the two other planes cut this one, left open in the middle."""
    x, y = (_SCALE * value for value in panel.place(panel.index))
    height, width = (_SCALE * n for n in panel.picture.shape[:2])
    gap, colour = 16 * _SCALE, (255, 255, 255, 70)
    for ends in (
        ((0, y), (x - gap, y)),
        ((x + gap, y), (width, y)),
        ((x, 0), (x, y - gap)),
        ((x, y + gap), (x, height)),
    ):
        draw.line(ends, fill=colour, width=_SCALE)


def _draw_mark(draw: ImageDraw.ImageDraw, panel: Panel, mark: _Mark, *, faint: bool) -> None:
    x, y = (_SCALE * value for value in panel.place(mark.at))
    radius, alpha = (4.5 * _SCALE, 120) if faint else (6.5 * _SCALE, 255)
    fill, sign = ((255, 255, 255), (0, 0, 0)) if mark.inside else ((0, 0, 0), (255, 255, 255))
    shape = draw.ellipse if mark.inside else draw.rectangle
    for grown, colour in ((1.5, (0, 0, 0)), (0.5, mark.colour), (-1.5, fill)):
        r = radius + grown * _SCALE
        shape((x - r, y - r, x + r, y + r), fill=(*colour, alpha))
    arm = radius * 0.5
    draw.line(((x - arm, y), (x + arm, y)), fill=(*sign, alpha), width=round(1.5 * _SCALE))
    if mark.inside:
        draw.line(((x, y - arm), (x, y + arm)), fill=(*sign, alpha), width=round(1.5 * _SCALE))


def _draw_frame(draw: ImageDraw.ImageDraw, panel: Panel, frame: _Frame) -> None:
    """The cut of a box: dashes of its object's colour on a dark line."""
    at = panel.index[panel.normal]
    if not frame.near[panel.normal] - 0.5 <= at <= frame.far[panel.normal] + 0.5:
        return
    (right, bottom), (left, top) = panel.place(frame.near), panel.place(frame.far)
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    for start, end in pairwise(corners):
        a, b = np.array(start) * _SCALE, np.array(end) * _SCALE
        draw.line((tuple(a), tuple(b)), fill=(0, 0, 0, 170), width=3 * _SCALE)
        length = float(np.linalg.norm(b - a))
        for begin in np.arange(0, length, 11 * _SCALE):
            stop = min(begin + 7 * _SCALE, length)
            dash = (tuple(a + (b - a) * begin / length), tuple(a + (b - a) * stop / length))
            draw.line(dash, fill=(*frame.colour, 255), width=round(1.5 * _SCALE))


def _draw_words(draw: ImageDraw.ImageDraw, panel: Panel, *, affine: NDArray[np.float64]) -> None:
    """The plane's name and place, the directions, and a scale."""
    height, width = panel.picture.shape[:2]
    place = float((affine @ [*panel.index, 1.0])[panel.normal])
    letter = _LETTERS[panel.normal][int(place >= 0)]
    _write(draw, (6, 5), f"{_NAMES[panel.normal]}  {letter} {abs(place):.1f} mm", size=13, anchor="lt")
    low_across, high_across = _LETTERS[panel.across]
    low_down, high_down = _LETTERS[panel.down]
    _write(draw, (6, height / 2), high_across, size=14, anchor="lm", colour=_FAINT)
    _write(draw, (width - 6, height / 2), low_across, size=14, anchor="rm", colour=_FAINT)
    _write(draw, (width / 2, 5), high_down, size=14, anchor="mt", colour=_FAINT)
    _write(draw, (width / 2, height - 5), low_down, size=14, anchor="mb", colour=_FAINT)
    pixels = height / (panel.size[panel.down] * panel.spacing[panel.down])
    length = next((mm for mm in (100, 50, 20, 10, 5, 2, 1) if mm * pixels <= width / 4), 1)
    x, y = width - 8, height - 10
    draw.line(((x - length * pixels, y), (x, y)), fill=(*_INK, 255), width=2)
    for end in (x - length * pixels, x):
        draw.line(((end, y - 3), (end, y + 3)), fill=(*_INK, 255), width=1)
    _write(draw, (x, y - 6), f"{length} mm", size=11, anchor="rb")


def _legend(panels: Sequence[Panel], labelmap: LabelMap | None) -> list[Label]:
    """The labels in the planes, the first panel's largest first."""
    seen = list(dict.fromkeys(value for panel in panels for value in panel.labels))
    known = {label.value: label for label in complete_labels(labelmap)} if labelmap is not None else {}
    return [known[value] for value in seen]


def _with_footer(canvas: Image.Image, legend: Sequence[Label], *, clicks: Sequence[bool]) -> Image.Image:
    """The picture with the names of its colours and marks below it, where there are any."""
    entries: list[tuple[Any, str]] = [(label.colour, label.name) for label in legend[:_LEGEND]]
    if len(legend) > _LEGEND:
        entries.append((None, f"and {len(legend) - _LEGEND} more"))
    entries += [(True, "click inside")] if any(clicks) else []
    entries += [(False, "click outside")] if not all(clicks) else []
    if not entries:
        return canvas
    font = _font(13)
    rows: list[list[tuple[Any, str]]] = [[]]
    used = 0.0
    for entry in entries:
        size = font.getlength(entry[1]) + 44
        if rows[-1] and used + size > canvas.width - 2 * _GAP:
            rows.append([])
            used = 0
        rows[-1].append(entry)
        used += size
    whole = Image.new("RGB", (canvas.width, canvas.height + _LINE * len(rows) + _FOOTER // 2), _BACKGROUND)
    whole.paste(canvas, (0, 0))
    draw = ImageDraw.Draw(whole)
    for n, row in enumerate(rows):
        x, y = _GAP + 4.0, canvas.height + _LINE * n + _LINE / 2 - 2
        for mark, words in row:
            _draw_key(whole, mark, at=(round(x), round(y)))
            shift = 20 if mark is not None else 0
            draw.text((x + shift, y), words, font=font, fill=_INK, anchor="lm")
            x += font.getlength(words) + shift + 24
    return whole


def _draw_key(canvas: Image.Image, mark: Any, *, at: tuple[int, int]) -> None:
    """A square of a label's colour, or the mark of a click inside (True) or outside (False)."""
    if mark is None:
        return
    x, y = at
    if isinstance(mark, bool):
        panel = Panel(
            picture=np.zeros((16, 16, 3), np.uint8),
            across=0,
            down=1,
            normal=2,
            index=(0, 0, 0),
            size=(1, 1, 1),
            spacing=(1.0, 1.0, 1.0),
        )
        layer = Image.new("RGBA", (16 * _SCALE, 16 * _SCALE))
        _draw_mark(
            ImageDraw.Draw(layer), panel, _Mark(at=(0, 0, 0), inside=mark, colour=_FAINT, number=""), faint=False
        )
        small = layer.reduce(_SCALE)
        canvas.paste(small, (x - 1, y - 8), small)
        return
    ImageDraw.Draw(canvas).rounded_rectangle((x, y - 6, x + 12, y + 6), radius=2, fill=mark)


def _write(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], words: str, *, size: int, anchor: str, colour: Colour = _INK
) -> None:
    draw.text(
        at, words, font=_font(size), fill=(*colour, 255), anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0, 255)
    )


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # every wheel of Pillow has FreeType
    return font

"""The picture of a result: three planes side by side, with names, directions, scale and legend, as a PNG.

`omlab predict --overlay` and the reports of evaluators show it: the result filled, the reference outlined, prompts
marked. The planes go through the place where result and reference differ most, else through the first prompt, else
through the middle of what was found. What is shown is also said in words, in the PNG's field for them (`Description`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from omlab.errors import GeometryError
from omlab_payloads.pictures.classes import OUTLINE
from omlab_payloads.pictures.legend import Key, square, with_legend
from omlab_payloads.pictures.marks import key_of_click
from omlab_payloads.pictures.names import Name, Rectangle, around, draw_names, names_of, told
from omlab_payloads.pictures.words import BACKGROUND, FAINT, INK, as_png, font, write
from omlab_volume.geometry import Affine, Grid
from omlab_volume.labels import Label, Labelled, complete_labels
from omlab_volume.orientation import canonical_grid
from omlab_volume.pictures.marks import Marks, draw_marks, marks_of
from omlab_volume.pictures.place import place_of
from omlab_volume.pictures.planes import Imaged, Panel, planes

_HEIGHT = 440  # of a panel
_TALLER = 2.0  # times that, at most, for a body that is much higher than deep
_WIDTH = 1800  # of the three panels, at most
_GAP = 6
_TITLE, _SMALL = 16, 14  # letters, in pixels: pages show pictures at about two thirds
_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))
_NAMES = {2: "Axial", 1: "Coronal", 0: "Sagittal"}
_COUNTED_FROM = {2: "the feet", 1: "the back", 0: "the left"}
_LENGTHS = [digit * 10.0**power for power in (1, 0, -1, -2, -3) for digit in (10, 5, 2)] + [1e-3]  # mm, of a scale
_LEGEND = 24  # names of labels at most


def picture(
    volume: Imaged,
    labelmap: Labelled | None = None,
    *,
    target: Labelled | None = None,
    prompts: Sequence[Any] = (),
    boxes: Any = None,
    window: tuple[float, float] | None = None,
) -> bytes:
    """A PNG of `volume` with the label map over it, the target outlined, the prompts and boxes marked.

    Radiological convention, as of `omlab_volume.pictures.planes`. Label n of the map is taken as the n-th object of
    the prompts (payloads of kind `prompts`), whose marks have its colour. Boxes (a payload of kind `boxes`) have a
    colour for each of their labels; without prompts the planes go through the middle of the first one.

    Raises:
        GeometryError: A label map lies on another grid, or a prompt outside the volume.
    """
    for labelled, what in ((labelmap, "label map"), (target, "reference")):
        if labelled is not None and not volume.grid.same(labelled.grid):
            raise GeometryError(
                f"The {what}'s grid {labelled.grid.shape} is not the volume's {volume.grid.shape}, or lies elsewhere."
            )
    labels = complete_labels(labelmap) if labelmap is not None else []
    marks = marks_of(prompts, grid=volume.grid, labels=labels, found=boxes)
    grid = canonical_grid(volume.grid)
    at = place_of(labelmap, target=target, grid=volume.grid, pointed=marks.first)
    panels = planes(volume, labelmap, target=target, at=at, window=window, height=_height(grid))
    targets = complete_labels(target) if target is not None else []
    names = [names_in(panel, labels, targets) for panel in panels]
    canvas = _side_by_side(
        [_drawn(panel, mine, marks, affine=grid.affine) for panel, mine in zip(panels, names, strict=True)]
    )
    keys = _keys(panels, labels, marks, outlined=target is not None)
    said = _in_words(panels, labels, names, affine=grid.affine, outlined=target is not None)
    return as_png(with_legend(canvas, keys), said=said)


def names_in(panel: Panel, labels: Sequence[Label], targets: Sequence[Label]) -> list[Name]:
    """The names of the classes in a plane: of the result, and in white those that the reference alone has there."""
    return names_of(
        panel.spots,
        panel.target_spots,
        names={label.value: label.name for label in labels},
        targets={label.value: label.name for label in targets},
        colours={label.value: label.colour for label in labels if label.colour is not None},
    )


def _height(grid: Grid) -> int:
    """Of the highest panel, so that neither a long body nor a broad strip makes the picture too small or too large."""
    right, anterior, superior = (float(n) for n in np.array(grid.shape) * grid.spacing)
    wanted = _HEIGHT * min(max(superior / anterior, 1), _TALLER)
    return max(1, round(min(wanted, _WIDTH * max(anterior, superior) / (2 * right + anterior))))


def _side_by_side(panels: Sequence[Image.Image]) -> Image.Image:
    rows = max(panel.height for panel in panels)
    width = sum(panel.width for panel in panels) + _GAP * (len(panels) + 1)
    canvas = Image.new("RGB", (width, rows + 2 * _GAP), BACKGROUND)
    left = _GAP
    for panel in panels:
        canvas.paste(panel, (left, _GAP + (rows - panel.height) // 2))
        left += panel.width + _GAP
    return canvas


def _drawn(panel: Panel, names: Sequence[Name], marks: Marks, *, affine: Affine) -> Image.Image:
    picture = Image.fromarray(panel.picture).convert("RGBA")
    picture.alpha_composite(_cross(panel))
    draw_marks(picture, panel, marks)
    if min(picture.size) >= 90:
        draw = ImageDraw.Draw(picture)
        _draw_words(draw, panel, affine=affine)
        marked = [around(panel.place(click.at)) for click in marks.clicks]
        draw_names(draw, names, size=picture.size, taken=[*_edges_of(panel), *marked])
    return picture.convert("RGB")


def _edges_of(panel: Panel) -> list[Rectangle]:
    """Where a plane's own words stand: at its top, at its bottom, and in the middle of its sides."""
    height, width = panel.picture.shape[:2]
    middle = height / 2
    return [
        (0, 0, width, 28),
        (0, height - 38, width, height),
        (0, middle - 12, 24, middle + 12),
        (width - 24, middle - 12, width, middle + 12),
    ]


def _cross(panel: Panel) -> Image.Image:
    """Where the two other planes cut this one, left open in the middle."""
    height, width = panel.picture.shape[:2]
    layer = Image.new("RGBA", (width, height))
    draw = ImageDraw.Draw(layer)
    x, y = panel.place(panel.index)
    gap = 16
    for ends in (
        ((0, y), (x - gap, y)),
        ((x + gap, y), (width, y)),
        ((x, 0), (x, y - gap)),
        ((x, y + gap), (x, height)),
    ):
        draw.line(ends, fill=(255, 255, 255, 70))
    return layer


def _draw_words(draw: ImageDraw.ImageDraw, panel: Panel, *, affine: Affine) -> None:
    """The plane's name, number and place, the directions, and a scale."""
    height, width = panel.picture.shape[:2]
    number, count = panel.index[panel.normal] + 1, panel.size[panel.normal]
    title = f"{_NAMES[panel.normal]} {number}/{count}  {_place(panel, affine)}"
    write(draw, (6, 5), title, size=_TITLE, anchor="lt")
    low_across, high_across = _LETTERS[panel.across]
    low_down, high_down = _LETTERS[panel.down]
    write(draw, (6, height / 2), high_across, size=_TITLE, anchor="lm", colour=FAINT)
    write(draw, (width - 6, height / 2), low_across, size=_TITLE, anchor="rm", colour=FAINT)
    if (
        font(_TITLE).getlength(title) < width / 2 - 20
    ):  # else it is where it would stand, and the other end says as much
        write(draw, (width / 2, 5), high_down, size=_TITLE, anchor="mt", colour=FAINT)
    write(draw, (width / 2, height - 5), low_down, size=_TITLE, anchor="mb", colour=FAINT)
    pixels = height / (panel.size[panel.down] * panel.spacing[panel.down])
    length = next((mm for mm in _LENGTHS if mm * pixels <= width / 4), _LENGTHS[-1])
    x, y = width - 8, height - 10
    draw.line(((x - length * pixels, y), (x, y)), fill=(*INK, 255), width=2)
    for end in (x - length * pixels, x):
        draw.line(((end, y - 3), (end, y + 3)), fill=(*INK, 255), width=1)
    write(draw, (x, y - 6), f"{length:g} mm" if length >= 1 else f"{1000 * length:g} um", size=_SMALL, anchor="rb")


def _place(panel: Panel, affine: Affine) -> str:
    """Where a plane lies, such as `S 12.0 mm`: towards which side of the origin of the image's space, and how far."""
    place = float((affine @ [*panel.index, 1.0])[panel.normal])
    return f"{_LETTERS[panel.normal][int(place >= 0)]} {abs(place):.1f} mm"


def _in_words(
    panels: Sequence[Panel], labels: Sequence[Label], names: Sequence[Sequence[Name]], *, affine: Affine, outlined: bool
) -> str:
    """Which planes are shown, which classes are filled in them, and which are outlined alone."""
    where = ", ".join(
        f"{_NAMES[panel.normal].lower()} slice {panel.index[panel.normal] + 1} of {panel.size[panel.normal]} from "
        f"{_COUNTED_FROM[panel.normal]} ({_place(panel, affine)})"
        for panel in panels
    )
    known = {label.value: label.name for label in labels}
    seen = dict.fromkeys(known[value] for panel in panels for value in panel.labels)
    found = told(seen, chain.from_iterable(names), is_outlined=outlined)
    return f"{where[0].upper()}{where[1:]}. {found}".rstrip()


def _keys(panels: Sequence[Panel], labels: Sequence[Label], marks: Marks, *, outlined: bool) -> list[Key]:
    """What the legend says: the labels in the planes, the first panel's largest first, then lines and marks."""
    seen = list(dict.fromkeys(value for panel in panels for value in panel.labels))
    known = {label.value: label for label in labels}
    keys: list[Key] = [(square(fill=known[value].colour), known[value].name) for value in seen[:_LEGEND]]
    if len(seen) > _LEGEND:
        keys.append((None, f"and {len(seen) - _LEGEND} more"))
    if outlined:
        keys.append((square(outline=OUTLINE), "reference"))
    keys += [(square(outline=colour), name) for name, colour in list(marks.names.items())[:_LEGEND]]
    for inside, words in ((True, "click inside"), (False, "click outside")):
        if any(click.inside == inside for click in marks.clicks):
            keys.append((key_of_click(is_inside=inside), words))
    return keys

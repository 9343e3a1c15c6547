"""The picture of what was measured: the largest structures, each in the slice of its long axis, with both axes."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from omlab_measure.structures import Position, Structure
from omlab_payloads.pictures.words import BACKGROUND, INK, write
from omlab_volume.orientation import canonical_grid
from omlab_volume.pictures.planes import Panel, planes
from omlab_volume.volume import LabelMap, Volume

SHOWN = 6
"""Structures in a picture, the largest first."""

_COLUMNS, _HEIGHT, _GAP = 3, 320, 6
_SMOOTH = 4  # lines are drawn this much larger and made smaller
_LONG, _SHORT = (255, 214, 64), (92, 214, 255)


def picture(structures: Sequence[Structure], volume: Volume, labelmap: LabelMap) -> bytes:
    """A PNG of the largest structures: radiological convention, long axis yellow, short axis blue, lengths in mm."""
    largest = sorted(structures, key=lambda entry: -(entry.figures.get("volume_ml") or 0.0))[:SHOWN]
    canvas = _side_by_side([_drawn(entry, volume, labelmap) for entry in largest if "long_axis" in entry.lines])
    stream = io.BytesIO()
    canvas.save(stream, "PNG")
    return stream.getvalue()


def _drawn(entry: Structure, volume: Volume, labelmap: LabelMap) -> Image.Image:
    grid = canonical_grid(volume.grid)
    to_voxels = np.linalg.inv(grid.affine)
    ends = {name: [_voxel(to_voxels, end) for end in line] for name, line in entry.lines.items()}
    middle = np.rint(np.mean(ends["long_axis"], axis=0)).clip(0, np.array(grid.shape) - 1).astype(int)
    at = (int(middle[0]), int(middle[1]), int(middle[2]))
    axial = planes(volume, labelmap, at=at, height=_HEIGHT)[0]
    drawn = Image.fromarray(axial.picture).convert("RGBA")
    layer = Image.new("RGBA", (drawn.width * _SMOOTH, drawn.height * _SMOOTH))
    draw = ImageDraw.Draw(layer)
    for name, colour in (("short_axis", _SHORT), ("long_axis", _LONG)):
        _draw_line(draw, axial, ends[name], colour=colour)
    drawn.alpha_composite(layer.reduce(_SMOOTH))
    words = ImageDraw.Draw(drawn)
    lengths = " x ".join(f"{entry.figures[f'{name}_axis_mm']:.1f}" for name in ("long", "short"))
    write(words, (8, 6), _shortened(entry.name, drawn.width), size=14, anchor="lt")
    write(words, (8, drawn.height - 8), f"{lengths} mm", size=13, anchor="lb", colour=INK)
    return drawn.convert("RGB")


def _draw_line(
    draw: ImageDraw.ImageDraw, panel: Panel, ends: Sequence[np.ndarray], *, colour: tuple[int, int, int]
) -> None:
    places = [tuple(x * _SMOOTH for x in panel.place([float(n) for n in end])) for end in ends]
    for width, ink in ((4.0, (0, 0, 0, 190)), (1.8, (*colour, 255))):
        draw.line(places, fill=ink, width=round(width * _SMOOTH))
    for x, y in places:
        r = 3.2 * _SMOOTH
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(*colour, 255), outline=(0, 0, 0, 190), width=_SMOOTH)


def _voxel(to_voxels: np.ndarray, at: Position) -> np.ndarray:
    return np.asarray(to_voxels[:3, :3] @ np.array(at) + to_voxels[:3, 3])


def _shortened(name: str, width: int) -> str:
    most = max(4, width // 9)
    return name if len(name) <= most else f"{name[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def _side_by_side(panels: Sequence[Image.Image]) -> Image.Image:
    columns = min(_COLUMNS, max(1, len(panels)))
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    width = columns * (max((panel.width for panel in panels), default=1) + _GAP) + _GAP
    height = sum(max(panel.height for panel in row) + _GAP for row in rows) + _GAP
    canvas = Image.new("RGB", (width, height), BACKGROUND)
    top = _GAP
    for row in rows:
        for n, panel in enumerate(row):
            canvas.paste(panel, (_GAP + n * (width - _GAP) // columns, top))
        top += max(panel.height for panel in row) + _GAP
    return canvas

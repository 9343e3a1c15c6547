"""What pictures are put together of: curves, and pictures side by side on one ground."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from omlab_payloads.pictures.words import BACKGROUND, INK, font
from omlab_report.themes import THEMES

LARGEST = 120_000  # bytes of a picture
SMALLER = 60_000  # of one that a page opens with
WIDEST = 1400  # pixels
_GAP, _LINE = 10, 26
_THEME = THEMES["dark_wide"]


def curve(values: Sequence[float], *, name: str, height: int, across: str = "epoch") -> Image.Image:
    """A figure by epoch as a panel of that height."""
    with _panel(height) as (figure, axes):
        axes.plot(range(1, len(values) + 1), values, color=_THEME.series[0], linewidth=2)
        axes.set(xlabel=across, title=name)
        return _drawn(figure)


def scatter(truth: Sequence[float], found: Sequence[float], *, unit: str, height: int) -> Image.Image:
    """Answers against the truth, with the line on which they would agree."""
    with _panel(height) as (figure, axes):
        ends = [min(*truth, *found), max(*truth, *found)]
        axes.plot(ends, ends, color=_THEME.muted, linewidth=1)
        axes.scatter(truth, found, color=_THEME.series[0], s=16)
        axes.set(xlabel=f"truth, {unit}", ylabel=f"answer, {unit}", title="held out")
        return _drawn(figure)


def heat(table: np.ndarray, *, rows: Sequence[str], name: str, height: int) -> Image.Image:
    """Numbers (rows, columns) about 0: below it red, above it blue."""
    with _panel(height) as (figure, axes):
        most = float(np.abs(table).max())
        axes.imshow(table, cmap="RdBu", vmin=-most, vmax=most, aspect="auto", interpolation="nearest")
        axes.set_yticks(range(len(rows)), rows, fontsize=8)
        axes.set_xticks(range(0, table.shape[1], 5), [str(1 + n) for n in range(0, table.shape[1], 5)])
        axes.set(title=name, xlabel="position")
        axes.grid(visible=False)
        return _drawn(figure)


@contextmanager
def _panel(height: int) -> Iterator[tuple[Figure, Axes]]:
    """A square plot on the ground of the pictures."""
    with plt.rc_context(_THEME.rc):
        figure, axes = plt.subplots(figsize=(height / 100, height / 100), dpi=100, layout="constrained")
        ground = "#" + bytes(BACKGROUND).hex()
        figure.set_facecolor(ground)
        axes.set_facecolor(ground)
        axes.grid(visible=True)
        yield figure, axes


def _drawn(figure: Figure) -> Image.Image:
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    plt.close(figure)
    return Image.open(stream).convert("RGB")


def beside(*pictures: Image.Image, names: Sequence[str] = (), height: int | None = None) -> Image.Image:
    """Pictures side by side, of one height, each with its name above it where names are given."""
    height = height or max(one.height for one in pictures)
    scaled = [one.convert("RGB").resize((round(one.width * height / one.height), height)) for one in pictures]
    top = _LINE if names else 0
    width = sum(one.width + _GAP for one in scaled) + _GAP
    made = Image.new("RGB", (width, height + top + 2 * _GAP), BACKGROUND)
    draw, left = ImageDraw.Draw(made), _GAP
    for number, one in enumerate(scaled):
        if names:
            draw.text((left, _GAP + top / 2 - 3), names[number], font=font(15), fill=INK, anchor="lm")
        made.paste(one, (left, _GAP + top))
        left += one.width + _GAP
    return made


def of_array(pixels: np.ndarray, *, side: int = 0) -> Image.Image:
    """Numbers from 0 to 1, grey (H, W) or in colour (H, W, 3), as a picture; `side` is its height."""
    image = Image.fromarray((255 * np.clip(pixels, 0, 1)).astype(np.uint8)).convert("RGB")
    return image.resize((round(image.width * side / image.height), side)) if side else image


def save(image: Image.Image, path: Path, *, largest: int = LARGEST) -> None:
    """Write a WebP of at most so many bytes."""
    if image.width > WIDEST:
        image = image.resize((WIDEST, round(image.height * WIDEST / image.width)), Image.Resampling.LANCZOS)
    for quality in range(92, 50, -6):
        image.save(path, quality=quality, method=6)
        if path.stat().st_size <= largest:
            return
    raise ValueError(f"{path}: {image.size} pixels do not fit in {largest} bytes.")

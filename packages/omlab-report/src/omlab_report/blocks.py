"""The blocks that a report page is made of: plain data, no HTML.

A `Page` has `Section`s, a section has blocks. All text is escaped when the page is rendered, so names
of cases and labels may hold anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from omlab_report.png import encode_png, png_size

if TYPE_CHECKING:
    import matplotlib.figure

    from omlab_report.themes import Theme

WIDE = 2.2
"""How many times broader than high a picture is that is not shrunk to the width of a phone."""
ABSENT = "\N{EN DASH}"
"""What a cell shows for a figure that is not defined."""


@dataclass(frozen=True)
class Interval:
    """A figure with its interval; shown as `value [low, high]`. None or NaN: not defined."""

    value: float | None
    low: float | None = None
    high: float | None = None


Cell = str | int | float | Interval | None


def number(value: float | None, digits: int) -> str:
    """`value` with `digits` decimals and a true minus sign; a dash for None and NaN."""
    if value is None or math.isnan(value):
        return ABSENT
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def interval_text(low: float | None, high: float | None, digits: int) -> str:
    """`[low, high]`, or nothing where an end is not known."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    return f"[{number(low, digits)}, {number(high, digits)}]"


@dataclass(frozen=True)
class KeyFigure:
    """One of the few figures that a reader should see first."""

    name: str
    value: float | int | str | None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    digits: int = 3
    note: str = ""

    @property
    def text(self) -> str:
        """The value as shown."""
        if isinstance(self.value, float):
            return number(self.value, self.digits)
        return ABSENT if self.value is None else str(self.value)

    @property
    def interval(self) -> str:
        """The interval as shown, or nothing."""
        return interval_text(self.low, self.high, self.digits)


@dataclass(frozen=True)
class KeyFigures:
    """A row of key figures."""

    figures: Sequence[KeyFigure]
    template: ClassVar[str] = "key_figures"


@dataclass(frozen=True)
class Column:
    """A column of a table. `numeric` columns are right aligned, with `digits` decimals for floats."""

    title: str
    numeric: bool = False
    digits: int = 3
    help: str = ""


@dataclass(frozen=True)
class ShownCell:
    """A cell as the template needs it."""

    text: str
    interval: str
    sort: str


@dataclass(frozen=True)
class Table:
    """A table; the reader can sort it by a click on a heading. `strong_last`: the last row sums up and stays last."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    strong_last: bool = False
    template: ClassVar[str] = "table"

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"A row has {len(row)} cells, the table {len(self.columns)} columns: {row!r}.")

    def shown(self) -> list[list[ShownCell]]:
        """The rows as text, with what they are sorted by."""
        return [[_shown(cell, column) for cell, column in zip(row, self.columns, strict=True)] for row in self.rows]


def _shown(cell: Cell, column: Column) -> ShownCell:
    if isinstance(cell, str):
        return ShownCell(cell, "", "")
    if isinstance(cell, Interval):
        sort = "" if cell.value is None or math.isnan(cell.value) else repr(float(cell.value))
        return ShownCell(number(cell.value, column.digits), interval_text(cell.low, cell.high, column.digits), sort)
    if cell is None or math.isnan(cell):
        return ShownCell(ABSENT, "", "")
    text = f"{cell:d}" if isinstance(cell, int) else number(cell, column.digits)
    return ShownCell(text, "", repr(float(cell)))


@dataclass(frozen=True)
class Figure:
    """A plot, drawn once for each theme (light and dark, desktop and phone).

    `alt` says what it shows to those who cannot see it, `caption` how it is read: what the axes and marks are, and
    what is good. Raises `ValueError` without one: no figure explains itself.
    """

    plot: Callable[[Theme], matplotlib.figure.Figure]
    alt: str
    caption: str
    template: ClassVar[str] = "figure"

    def __post_init__(self) -> None:
        if not self.caption.strip():
            raise ValueError(f"The figure '{self.alt}' has no caption: say how it is read, and what is good.")


@dataclass(frozen=True)
class Picture:
    """A picture: bytes of a PNG or JPEG, or an RGB array (H, W, 3) of uint8; None: an empty place that says `alt`."""

    content: bytes | NDArray[np.uint8] | None
    alt: str
    caption: str = ""

    @property
    def encoded(self) -> bytes | None:
        """The picture as the bytes of a file."""
        return self.content if self.content is None or isinstance(self.content, bytes) else encode_png(self.content)

    @property
    def is_wide(self) -> bool:
        """Whether it is a PNG so broad (planes side by side) that a phone shows it at a size that scrolls."""
        width, height = (0, 0) if self.encoded is None else png_size(self.encoded)
        return width > WIDE * height


@dataclass(frozen=True)
class GalleryItem:
    """Pictures that belong together, such as three planes of one case, under a title."""

    title: str
    pictures: Sequence[Picture]
    text: str = ""


@dataclass(frozen=True)
class Gallery:
    """Items below each other.

    `legend` maps what a colour means to that colour (R, G, B). `small`: thumbnails of one size, as many beside each
    other as there is room for.
    """

    items: Sequence[GalleryItem]
    legend: Mapping[str, tuple[int, int, int]] | None = None
    small: bool = False
    template: ClassVar[str] = "gallery"

    def legend_swatches(self) -> list[tuple[str, bytes]]:
        """Each meaning with a small picture of its colour (a page without style attributes needs one)."""
        return [
            (text, encode_png(np.full((2, 2, 3), colour, dtype=np.uint8)))
            for text, colour in (self.legend or {}).items()
        ]


@dataclass(frozen=True)
class Notes:
    """Remarks, one a bullet."""

    items: Sequence[str]
    template: ClassVar[str] = "notes"


@dataclass(frozen=True)
class Facts:
    """Names with values, such as versions and digests. `folded`: hidden until the reader opens them."""

    facts: Mapping[str, str]
    title: str = ""
    folded: bool = False
    template: ClassVar[str] = "facts"


Block = KeyFigures | Table | Figure | Gallery | Notes | Facts


@dataclass(frozen=True)
class Section:
    """A titled part of a page; `text` introduces it. An empty title: no heading."""

    title: str
    blocks: Sequence[Block]
    text: str = ""


CONTENTS_FROM = 5
"""Titled sections of a page that has contents."""


@dataclass(frozen=True)
class Page:
    """A whole report page. `notices` are what a reader must know before any figure, such as that weights are random."""

    title: str
    sections: Sequence[Section]
    subtitle: str = ""
    notices: Sequence[str] = ()

    def contents(self) -> list[tuple[int, str]]:
        """Number (from 1) and title of each titled section; none where the page is short."""
        titled = [(number, one.title) for number, one in enumerate(self.sections, start=1) if one.title]
        return titled if len(titled) >= CONTENTS_FROM else []

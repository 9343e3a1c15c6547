"""How plots look: colours for light and dark pages, sizes for desktop and phone.

Series colours follow Okabe and Ito (2008), which people with colour-blindness can tell apart; the dark
variants are lighter so that they keep a contrast of at least 4.5:1 against the dark page.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a program that writes no plot does not import matplotlib
    import matplotlib.figure


@dataclass(frozen=True, kw_only=True)
class Theme:
    """Colours and width (inches; the height is the plot's own) of one rendering."""

    dark: bool
    narrow: bool
    width: float
    ink: str
    muted: str
    grid: str
    paper: str
    series: tuple[str, ...]

    @property
    def rc(self) -> Any:
        """Settings for `matplotlib.rc_context`."""
        return {
            "font.family": "DejaVu Sans",
            "font.size": 9,
            "axes.titlesize": 10,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.edgecolor": self.muted,
            "axes.labelcolor": self.ink,
            "axes.titlecolor": self.ink,
            "axes.linewidth": 0.7,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "grid.color": self.grid,
            "grid.linewidth": 0.7,
            "text.color": self.ink,
            "xtick.color": self.muted,
            "ytick.color": self.muted,
            "xtick.labelcolor": self.ink,
            "ytick.labelcolor": self.ink,
            "xtick.major.width": 0.7,
            "ytick.major.width": 0.7,
            "axes.unicode_minus": True,
            "svg.fonttype": "path",
            "svg.hashsalt": "omlab",
        }


_LIGHT: dict[str, Any] = {
    "dark": False,
    "ink": "#1c2126",
    "muted": "#5b6570",
    "grid": "#e3e6e9",
    "paper": "#ffffff",
    "series": ("#0068a8", "#b85000", "#00785a", "#a3457d", "#6b5c00", "#3f4a54"),
}
_DARK: dict[str, Any] = {
    "dark": True,
    "ink": "#e6e9ec",
    "muted": "#9aa4ae",
    "grid": "#2d343b",
    "paper": "#14181c",
    "series": ("#62b5f0", "#f09a4a", "#3fc99b", "#e08fbf", "#dccb4c", "#b4bec8"),
}

WIDE_INCHES = 10.8
NARROW_INCHES = 3.73

THEMES: dict[str, Theme] = {
    "light_wide": Theme(narrow=False, width=WIDE_INCHES, **_LIGHT),
    "dark_wide": Theme(narrow=False, width=WIDE_INCHES, **_DARK),
    "light_narrow": Theme(narrow=True, width=NARROW_INCHES, **_LIGHT),
    "dark_narrow": Theme(narrow=True, width=NARROW_INCHES, **_DARK),
}


def render_svg(plot: Callable[[Theme], matplotlib.figure.Figure], theme: Theme) -> bytes:
    """The plot as SVG in one theme; the same plot always gives the same bytes."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context(theme.rc):
        plot(theme).savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": "omlab"})
    return buffer.getvalue()

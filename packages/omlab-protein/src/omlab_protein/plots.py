"""Plots of protein pages: a heat map of single mutants, and what is expected of a plate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from omlab_protein.alphabet import RESIDUES
from omlab_report.themes import Theme

if TYPE_CHECKING:  # a program that writes no page does not import matplotlib
    from matplotlib.figure import Figure as Canvas

WIDE, NARROW = 100, 40
"""Positions of a row of the heat map, on a desktop and on a phone."""
EVERY = 10


def scan_map(table: NDArray[np.float64], *, first: int) -> Callable[[Theme], Canvas]:
    """Rows of positions below each other, a line a residue; red is worse than the wild type, blue better.

    Args:
        table: Scores (20, positions) as `omlab_protein.heatmap.matrix` gives them; NaN: none.
        first: The first column's position.
    """
    most = float(np.nanmax(np.abs(table))) or 1.0

    def draw(theme: Theme) -> Canvas:
        from matplotlib.figure import Figure as Canvas
        from matplotlib.ticker import MultipleLocator

        width = min(NARROW if theme.narrow else WIDE, table.shape[1])
        rows = -(-table.shape[1] // width)
        canvas = Canvas(figsize=(theme.width, 2.1 * rows + 0.7), layout="constrained")
        grid = np.atleast_1d(canvas.subplots(rows, 1))
        for row, axes in enumerate(grid):
            part = table[:, row * width : (row + 1) * width]
            begin = first + row * width
            shown = axes.imshow(
                np.ma.masked_invalid(part),
                cmap="RdBu",
                vmin=-most,
                vmax=most,
                aspect="auto",
                interpolation="nearest",
                extent=(begin - 0.5, begin + part.shape[1] - 0.5, len(RESIDUES) - 0.5, -0.5),
            )
            axes.set_xlim(begin - 0.5, begin + width - 0.5)
            axes.set_facecolor(theme.grid)
            axes.set_yticks(range(len(RESIDUES)), list(RESIDUES), fontsize=5, fontfamily="monospace")
            axes.xaxis.set_major_locator(MultipleLocator(EVERY))
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
        grid[-1].set_xlabel("position")
        canvas.colorbar(shown, ax=grid.tolist(), location="bottom", fraction=0.03, aspect=50, label="score")
        return canvas

    return draw


def plate_plot(means: Sequence[float], spreads: Sequence[float], groups: Sequence[str]) -> Callable[[Theme], Canvas]:
    """A dot a mutant: how far heads differ against what they expect, coloured by why it was taken."""

    def draw(theme: Theme) -> Canvas:
        from matplotlib.figure import Figure as Canvas

        canvas = Canvas(figsize=(theme.width, 3.4), layout="constrained")
        axes = canvas.subplots()
        for colour, group in zip(theme.series, dict.fromkeys(groups), strict=False):
            own = [n for n, each in enumerate(groups) if each == group]
            axes.scatter(
                [means[n] for n in own], [spreads[n] for n in own], s=22, color=colour, linewidths=0, label=group
            )
        axes.set_xlabel("expected (mean of the heads)")
        axes.set_ylabel("spread of the heads")
        axes.grid()
        axes.legend(frameon=False)
        return canvas

    return draw

"""Plots of protein pages: a heat map of single mutants, and what is expected of a plate."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from omlab_protein.alphabet import RESIDUES
from omlab_report.themes import Theme

if TYPE_CHECKING:  # a program that writes no page does not import matplotlib
    from matplotlib.figure import Figure as Canvas

WIDE = 80
"""Positions of a row of the heat map."""
EVERY = 10


def scan_picture(table: NDArray[np.float64], *, first: int) -> bytes:
    """A PNG: rows of positions below each other, a line a residue; red is below 0, blue above, grey has no score.

    One picture for all themes: a page of scores is written beside every result, and must be quick.

    Args:
        table: Scores (20, positions) as `omlab_protein.heatmap.matrix` gives them; NaN: none.
        first: The first column's position.
    """
    from matplotlib.figure import Figure as Canvas
    from matplotlib.ticker import MultipleLocator

    most = float(np.nanmax(np.abs(table))) or 1.0
    width = min(WIDE, table.shape[1])
    rows = -(-table.shape[1] // width)
    canvas = Canvas(figsize=(9.5, 2.4 * rows + 0.8), dpi=110)
    grid = np.atleast_1d(canvas.subplots(rows, 1))
    edge = 0.75 / (2.4 * rows + 0.8)
    canvas.subplots_adjust(left=0.03, right=0.99, top=1 - 0.1 / rows / 2.4, bottom=edge, hspace=0.12)
    for row, axes in enumerate(grid):
        part, begin = table[:, row * width : (row + 1) * width], first + row * width
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
        axes.set_facecolor("0.75")
        axes.set_yticks(range(len(RESIDUES)), list(RESIDUES), fontsize=7, fontfamily="monospace")
        axes.xaxis.set_major_locator(MultipleLocator(EVERY))
        axes.tick_params(length=0, labelsize=8)
        axes.tick_params(axis="y", labelsize=6)
        axes.spines[:].set_visible(False)
    bar = canvas.add_axes((0.35, edge * 0.35, 0.3, edge * 0.18))
    canvas.colorbar(shown, cax=bar, orientation="horizontal").ax.tick_params(labelsize=8)
    stream = io.BytesIO()
    canvas.savefig(stream, format="png")
    return stream.getvalue()


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

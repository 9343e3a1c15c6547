"""The reliability curve: what probabilities said against what came true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from omlab_evaluators.classification.calibration import BINS, Bin

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure as Canvas

    from omlab_report.themes import Theme


def reliability_curve(bins: Sequence[Bin], *, said: str, true: str) -> Callable[[Theme], Canvas]:
    """A dot a bin over the line where both agree, and below how many statements are in each bin.

    `said` and `true` are the words of the axes.
    """

    def draw(theme: Theme) -> Canvas:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        width = theme.width if theme.narrow else 0.55 * theme.width
        canvas = Figure(figsize=(width, 1.15 * width), layout="constrained")
        curve, counts = canvas.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        curve.plot([0, 1], [0, 1], color=theme.muted, linewidth=1.0, linestyle=(0, (4, 3)))
        xs, ys = [part.said for part in bins], [part.true for part in bins]
        curve.plot(xs, ys, color=theme.series[0], linewidth=1.6, marker="o", markersize=6, clip_on=False, zorder=3)
        curve.set_ylabel(true)
        curve.set_xlim(0, 1)
        curve.set_ylim(0, 1)
        curve.grid()
        counts.bar(xs, [part.count for part in bins], width=0.6 / BINS, color=theme.series[0])
        counts.set_xlabel(said)
        counts.set_ylabel("count")
        counts.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=3))
        counts.grid(axis="y")
        return canvas

    return draw

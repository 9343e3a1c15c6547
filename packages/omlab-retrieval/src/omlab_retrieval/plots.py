"""How the distances of known cases are spread, and where others lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from omlab_report.themes import Theme
from omlab_retrieval.outlying import PERCENT, Scored

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_BINS = 40
_MOST_MARKS = 500


def distances_beside_known(scores: Mapping[str, Scored], *, among: bool) -> Callable[[Theme], Canvas]:
    """A panel for each score, by its title: the known cases' histogram, thresholds, and a mark for each scored case.

    `among`: the scored cases are the known ones, which get no marks of their own.
    """

    def draw(theme: Theme) -> Canvas:
        from matplotlib.figure import Figure

        rows, columns = (len(scores), 1) if theme.narrow else (1, len(scores))
        canvas = Figure(figsize=(theme.width, 2.4 * max(rows, 1)), layout="constrained")
        if scores:
            panels = np.atleast_1d(canvas.subplots(rows, columns)).ravel()
            for axes, (title, scored) in zip(panels, scores.items(), strict=True):
                _panel(axes, title, scored, theme=theme, among=among)
        return canvas

    return draw


def _panel(axes: Axes, title: str, scored: Scored, *, theme: Theme, among: bool) -> None:
    bins = min(_BINS, max(5, len(scored.known) // 5))
    axes.hist(scored.known, bins=bins, color=theme.muted, edgecolor=theme.paper, linewidth=0.5)
    top = axes.get_ylim()[1]
    for percent in PERCENT:
        threshold = scored.threshold(percent)
        if threshold is not None:
            axes.axvline(threshold, color=theme.ink, linewidth=1.0, linestyle="--" if percent == PERCENT[0] else "-")
            axes.annotate(
                f"{percent} %", (threshold, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 2),
                textcoords="offset points", ha="right" if percent == PERCENT[0] else "left", color=theme.ink,
            )  # fmt: skip
    if not among:
        _mark(axes, scored, top=top, theme=theme)
    axes.set_xlabel(title.replace("$", r"\$"))
    axes.set_ylabel("known cases")


def _mark(axes: Axes, scored: Scored, *, top: float, theme: Theme) -> None:
    """Mark the scored cases below the histogram; of those far beyond it, which would squeeze it, the number."""
    values = np.sort(scored.values[np.isfinite(scored.values)])[-_MOST_MARKS:]
    least, most = float(scored.known[0]), float(scored.known[-1])
    end = most + max(most - least, 0.05 * abs(most), 1e-6)
    near, beyond = values[values <= end], int((values > end).sum())
    y = -0.08 * top
    axes.plot(near, np.full(len(near), y), "|", color=theme.series[1], markersize=9, label="cases that were scored")
    if beyond:
        axes.set_xlim(right=end)
        axes.annotate(
            f"{beyond} beyond \N{RIGHTWARDS ARROW}", (1.0, 0.03 * top), xycoords=("axes fraction", "data"), ha="right",
            va="bottom", color=theme.series[1],
        )  # fmt: skip
    axes.set_ylim(-0.16 * top, top)
    axes.legend(frameon=False, loc="upper right")

"""Plots for report pages. Each function takes data and gives a plot that a `Figure` block draws per theme."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from omlab.roles import Metric
from omlab_report.themes import Theme

if TYPE_CHECKING:  # a program that writes no plot does not import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

Plot: TypeAlias = "Callable[[Theme], Canvas]"

MANY_ROWS = 24
LETTERS_AN_INCH = 11
"""Beyond it the names under a heat map would run into each other and stand aslant."""


def loss_curve(history: Sequence[Mapping[str, float]]) -> Plot:
    """Every series of `history` whose name contains "loss", over its `epoch` (or `step`, or row number).

    `history` is a list of rows such as `{"epoch": 1, "loss": 0.3, "val_loss": 0.4}`; a row may lack a series.
    """
    names = list(dict.fromkeys(name for row in history for name in row if "loss" in name.lower()))
    axis = next((name for name in ("epoch", "step") if history and all(name in row for row in history)), None)

    def draw(theme: Theme) -> Canvas:
        from matplotlib.ticker import MaxNLocator

        canvas = _canvas(theme, height=2.6 if theme.narrow else 3.0)
        axes = canvas.subplots()
        for index, name in enumerate(names):
            points = [(row[axis] if axis else n, row[name]) for n, row in enumerate(history) if name in row]
            colour = theme.series[index % len(theme.series)]
            x, y = zip(*points, strict=True)
            axes.plot(x, y, color=colour, linewidth=1.8, marker="o" if len(points) == 1 else "", label=_words(name))
        axes.set_xlabel(axis or "row")
        axes.set_ylabel("loss" if len(names) != 1 else _words(names[0]))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5 if theme.narrow else 10))
        axes.grid(axis="y")
        if len(names) > 1:
            axes.legend(frameon=False)
        return canvas

    return draw


def dot_intervals(metrics: Sequence[Metric], *, fit: bool = False) -> Plot:
    """Dots with their 95 % intervals: one panel per metric name, one row per label.

    Panels stand side by side on a wide page and below each other on a phone. Fractions (no unit) share
    the range 0 to 1; other units start at 0. `fit`: the range is that of the figures, for a scale whose zero means
    nothing (ratings). A metric without a value leaves its row empty.
    """
    names = list(dict.fromkeys(metric.name for metric in metrics))
    labels = list(dict.fromkeys(metric.label or "mean" for metric in metrics))

    def draw(theme: Theme) -> Canvas:
        panel = _row_height(len(labels)) * len(labels) + 0.9
        rows, columns = (len(names), 1) if theme.narrow else (1, len(names))
        canvas = _canvas(theme, height=panel * rows)
        grid = np.atleast_1d(canvas.subplots(rows, columns, sharey=not theme.narrow)).ravel()
        for index, (axes, name) in enumerate(zip(grid, names, strict=True)):
            chosen = [metric for metric in metrics if metric.name == name]
            colour = theme.series[index % len(theme.series)]
            _interval_panel(axes, chosen, labels=labels, colour=colour, theme=theme, fit=fit)
        return canvas

    return draw


def _interval_panel(
    axes: Axes, metrics: Sequence[Metric], *, labels: Sequence[str], colour: str, theme: Theme, fit: bool
) -> None:
    for metric in metrics:
        if metric.value is None:
            continue
        y = labels.index(metric.label or "mean")
        if metric.low is not None and metric.high is not None:
            axes.plot([metric.low, metric.high], [y, y], color=colour, linewidth=2.0, solid_capstyle="round")
        axes.plot([metric.value], [y], "o", color=colour, markersize=6.5, markeredgewidth=0, clip_on=False)
    unit = metrics[0].unit
    arrow = "higher is better" if metrics[0].higher_is_better else "lower is better"
    axes.set_title(f"{metrics[0].name}{f' ({unit})' if unit else ''}")
    axes.set_xlabel(arrow, color=theme.muted)
    if fit:
        axes.margins(x=0.04)
    elif unit:
        axes.set_xlim(left=0)
    else:
        axes.set_xlim(0, 1)
    _label_axis(axes, labels)


def curves_with_intervals(lines: Mapping[str, Sequence[tuple[str, Metric]]], *, across: str, up: str) -> Plot:
    """A line a name over places that stand side by side in the order of their first mention, such as shots.

    Bars are the metrics' intervals; lines stand a little beside each other, so that these can be told apart.
    """
    places = list(dict.fromkeys(place for points in lines.values() for place, _ in points))

    def draw(theme: Theme) -> Canvas:
        canvas = _canvas(theme, height=(3.4 if theme.narrow else 3.8) + 0.22 * len(lines) * theme.narrow)
        axes = canvas.subplots()
        for index, (name, points) in enumerate(lines.items()):
            shift = 0.0 if len(lines) == 1 else 0.24 * (index / (len(lines) - 1) - 0.5)
            known = [
                (places.index(place) + shift, metric.value, metric)
                for place, metric in points
                if metric.value is not None
            ]
            x, y = [at for at, _, _ in known], [value for _, value, _ in known]
            colour = theme.series[index % len(theme.series)]
            style = ("-", "--", ":", "-.")[index // len(theme.series) % 4]
            axes.plot(
                x, y, style, color=colour, linewidth=1.6, marker="o", markersize=4.5, label=name.replace("$", r"\$")
            )
            for at, _, metric in known:
                if metric.low is not None and metric.high is not None:
                    axes.plot([at, at], [metric.low, metric.high], color=colour, linewidth=1.4, alpha=0.7)
        axes.set_xticks(range(len(places)), places)
        axes.set_xlim(-0.4, len(places) - 0.6)
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.grid(axis="y")
        canvas.legend(frameon=False, loc="outside lower center", ncols=1 if theme.narrow else 2)
        return canvas

    return draw


def case_strip(values: Mapping[str, Sequence[float | None]], *, name: str, unit: str = "") -> Plot:
    """One row per label: every case a dot, a bar at the median, a box from quartile to quartile.

    Dots are spread by a fixed pattern, not at random. Undefined values (None, NaN) are left out.
    """
    labels = list(values)

    def draw(theme: Theme) -> Canvas:
        canvas = _canvas(theme, height=1.25 * _row_height(len(labels)) * max(len(labels), 1) + 0.8)
        axes = canvas.subplots()
        for y, label in enumerate(labels):
            shown = np.array([v for v in values[label] if v is not None and math.isfinite(v)])
            if shown.size:
                _strip_row(axes, y, shown, theme=theme)
        axes.set_xlabel(f"{name}{f' ({unit})' if unit else ''}")
        if unit:
            axes.set_xlim(left=0)
        else:
            axes.set_xlim(0, 1)
        _label_axis(axes, labels)
        return canvas

    return draw


def _strip_row(axes: Axes, y: int, shown: np.ndarray, *, theme: Theme) -> None:
    low, middle, high = np.percentile(shown, [25, 50, 75])
    axes.barh(y, high - low, left=low, height=0.56, color=theme.grid, zorder=1)
    axes.plot([middle, middle], [y - 0.28, y + 0.28], color=theme.ink, linewidth=1.6, zorder=3)
    # Multiples of the golden ratio's fraction never bunch up, whatever the number of cases.
    spread = ((np.arange(shown.size) * 0.618034) % 1 - 0.5) * 0.4
    axes.scatter(
        shown, y + spread, s=20, color=theme.series[0], alpha=0.8, linewidths=0.6, edgecolors=theme.paper,
        zorder=4, clip_on=False,
    )  # fmt: skip


def heat_map(
    values: Sequence[Sequence[float | None]], *, rows: Sequence[str], columns: Sequence[str], digits: int = 2
) -> Plot:
    """A grid of coloured cells with their values; an undefined cell stays blank with a dash."""
    table = np.array([[math.nan if v is None else v for v in row] for row in values], dtype=float)
    if table.shape != (len(rows), len(columns)):
        raise ValueError(f"The values are {table.shape}, the names {(len(rows), len(columns))}.")

    def draw(theme: Theme) -> Canvas:
        canvas = _canvas(theme, height=0.36 * len(rows) + 1.1)
        axes = canvas.subplots()
        image = axes.imshow(np.ma.masked_invalid(table), cmap="cividis", aspect="auto")
        for (i, j), value in np.ndenumerate(table):
            defined = math.isfinite(value)
            colour = theme.muted
            if defined:
                red, green, blue, _ = image.cmap(image.norm(value))
                colour = "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.45 else "#ffffff"
            axes.text(j, i, f"{value:.{digits}f}" if defined else "–", ha="center", va="center", color=colour)  # noqa: RUF001 - the dash of an undefined figure
        crowded = theme.narrow or len(columns) * max(map(len, columns)) > LETTERS_AN_INCH * theme.width
        axes.set_xticks(
            range(len(columns)), columns, rotation=40 if crowded else 0, ha="right" if crowded else "center"
        )
        axes.set_yticks(range(len(rows)), rows)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        return canvas

    return draw


def _canvas(theme: Theme, *, height: float) -> Canvas:
    from matplotlib.figure import Figure

    return Figure(figsize=(theme.width, height), layout="constrained")


def _row_height(rows: int) -> float:
    """Inches for a row: many rows stand closer, so that a hundred classes stay within a few screens."""
    return 0.34 if rows <= MANY_ROWS else 0.22


def _label_axis(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), [_words(label) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")


def _words(name: str) -> str:
    """A name as a reader would write it, cut to a length that leaves room for the plot."""
    words = name.replace("_", " ")
    # A dollar sign would start mathematical text in matplotlib.
    words = words.replace("$", r"\$")
    return words if len(words) <= 28 else f"{words[:27]}…"

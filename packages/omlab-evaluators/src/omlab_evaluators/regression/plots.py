"""Pictures of agreement: differences over means (Bland and Altman 1986), and results over references."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from omlab_evaluators.bootstrap import Estimate
from omlab_evaluators.regression.summary import Series

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from omlab_report.themes import Theme


def agreement_plot(series: Series, figures: dict[str, Estimate]) -> Callable[[Theme], Canvas]:
    """Two panels: differences over means with the bias and limits of agreement, and results over references."""

    def draw(theme: Theme) -> Canvas:
        from matplotlib.figure import Figure

        rows, columns = (2, 1) if theme.narrow else (1, 2)
        height = 6.2 if theme.narrow else 3.8
        canvas = Figure(figsize=(theme.width, height), layout="constrained")
        first, second = canvas.subplots(rows, columns, gridspec_kw={"hspace": 0.08, "wspace": 0.08})
        _differences(first, series, figures, theme)
        _over_reference(second, series, theme)
        return canvas

    return draw


def _differences(axes: Any, series: Series, figures: dict[str, Estimate], theme: Theme) -> None:
    dots = {"s": 18, "color": theme.series[0], "alpha": 0.7, "linewidths": 0}
    axes.scatter((series.reference + series.result) / 2, series.difference, **dots)
    axes.axhline(0, color=theme.muted, linewidth=0.8)
    for key, style in (("bias", "-"), ("limit_low", (0, (4, 3))), ("limit_high", (0, (4, 3)))):
        estimate = figures[key]
        if estimate.value is None:
            continue
        axes.axhline(estimate.value, color=theme.series[1], linewidth=1.5, linestyle=style)
        if estimate.low is not None and estimate.high is not None:
            axes.axhspan(estimate.low, estimate.high, color=theme.series[1], alpha=0.14, linewidth=0)
    axes.set_title("Differences")
    axes.set_xlabel(f"mean of reference and result{_unit(series)}")
    axes.set_ylabel(f"result minus reference{_unit(series)}")
    axes.grid()


def _over_reference(axes: Any, series: Series, theme: Theme) -> None:
    values = [*series.reference, *series.result]
    low, high = min(values), max(values)
    axes.plot([low, high], [low, high], color=theme.muted, linewidth=1.0, linestyle=(0, (4, 3)))
    axes.scatter(series.reference, series.result, s=18, color=theme.series[0], alpha=0.7, linewidths=0)
    axes.set_title("Results over references")
    axes.set_xlabel(f"reference{_unit(series)}")
    axes.set_ylabel(f"result{_unit(series)}")
    axes.grid()


def _unit(series: Series) -> str:
    # A dollar sign would start mathematical text in matplotlib.
    return f" ({series.unit})".replace("$", r"\$") if series.unit else ""

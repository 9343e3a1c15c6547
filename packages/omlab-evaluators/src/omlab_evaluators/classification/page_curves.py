"""ROC and precision-recall curves on the page, and in `curves.csv`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from omlab_evaluators.classification.curves import GRID, Curve, Curves, curves_of
from omlab_evaluators.classification.summary import Judged
from omlab_report import Figure, Section, csv_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from omlab_report.themes import Theme

SHOWN = 4
"""Classes with curves: more lines could not be told apart."""


def shown_curves(judged: Judged, *, rounds: int, seed: int) -> list[Curves]:
    """The curves of the classes with most cases; of two classes that leave no third, of the rarer one alone."""
    counts = (judged.right & judged.known).sum(axis=0).tolist()
    order = sorted(range(len(counts)), key=lambda k: (-counts[k], k))
    chosen = order[1:] if len(order) == 2 and not judged.several else order[:SHOWN]
    groups = [
        case if group is None else f"group {group}" for case, group in zip(judged.cases, judged.groups, strict=True)
    ]
    return curves_of(judged, groups, places=chosen, rounds=rounds, seed=seed)


def curve_section(curves: Sequence[Curves], judged: Judged) -> list[Section]:
    """A figure with both; none where no class has cases of both sides."""
    if not curves:
        return []
    defined = len(judged.names) - (1 if len(judged.names) == 2 and not judged.several else 0)
    which = f"The {len(curves)} classes with most cases" if defined > len(curves) else "Each class against the others"
    if len(curves) == 1:
        which = f"'{curves[0].name}' against the others"
    text = f"{which}: shaded are 95 % bootstrap bands by patient, at each place of the axis below."
    figure = Figure(
        _plot(curves),
        alt="ROC and precision-recall curves with 95 % bands; the numbers are in curves.csv.",
        caption="Dashed: guessing. The better a model, the closer its ROC curve comes to the upper left corner and its "
        "precision-recall curve to the upper right one; the latter is read against the share of cases of its class.",
    )
    return [Section("Curves", [figure], text=text)]


def curves_csv(curves: Sequence[Curves]) -> str:
    """The corners of both curves of each class, then their bands."""
    return csv_text(["class", "curve", "x", "y", "low", "high"], _rows(curves))


def _rows(curves: Sequence[Curves]) -> Iterator[list[Any]]:
    for one in curves:
        for name, curve in (("roc", one.roc), ("precision-recall", one.precision_recall)):
            for x, y in zip(curve.x, curve.y, strict=True):
                yield [one.name, name, float(x), float(y), None, None]
            if curve.low is not None and curve.high is not None:
                for x, low, high in zip(GRID, curve.low, curve.high, strict=True):
                    yield [one.name, f"{name} band", float(x), None, float(low), float(high)]


def _plot(curves: Sequence[Curves]) -> Callable[[Theme], Canvas]:
    def draw(theme: Theme) -> Canvas:
        from matplotlib.figure import Figure as Canvas_

        rows, columns = (2, 1) if theme.narrow else (1, 2)
        side = theme.width / columns
        canvas = Canvas_(figsize=(theme.width, rows * 0.92 * side + 0.35), layout="constrained")
        first, second = canvas.subplots(rows, columns)
        for n, one in enumerate(curves):
            colour = theme.series[n % len(theme.series)]
            _line(first, one.roc, colour=colour, label=one.name, is_step=False)
            _line(second, one.precision_recall, colour=colour, label=one.name, is_step=True)
            second.axhline(one.share, color=colour, linewidth=0.8, linestyle=(0, (4, 3)))
        first.plot([0, 1], [0, 1], color=theme.muted, linewidth=0.8, linestyle=(0, (4, 3)))
        for axes, title, x, y in (
            (first, "ROC", "false positive rate", "true positive rate"),
            (second, "Precision-recall", "recall", "precision"),
        ):
            axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel=x, ylabel=y)
            axes.set_title(title)
            axes.grid()
        if len(curves) > 1:
            handles, labels = first.get_legend_handles_labels()
            canvas.legend(handles, labels, loc="outside lower left", ncols=1 if theme.narrow else 2, frameon=False)
        return canvas

    return draw


def _line(axes: Any, curve: Curve, *, colour: str, label: str, is_step: bool) -> None:
    label = label.replace("$", r"\$")  # which would start mathematical text
    label = label if len(label) <= 40 else f"{label[:39]}…"
    style = {"color": colour, "linewidth": 1.6, "label": label}
    if is_step:  # of one recall the threshold that reaches it first
        x, first = np.unique(curve.x, return_index=True)
        axes.step(np.r_[0.0, x], curve.y[np.r_[first[:1], first]], where="pre", **style)
    else:
        axes.plot(curve.x, curve.y, **style)
    if curve.low is not None:
        axes.fill_between(GRID, curve.low, curve.high, color=colour, alpha=0.13, linewidth=0)

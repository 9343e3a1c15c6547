"""Precision-recall curves of boxes: as a plot, as a table, and the operating point at which F1 is highest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from omlab_evaluators.detection.matching import OVERLAPS
from omlab_evaluators.detection.precision import Ranked

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from omlab_report.themes import Theme

Floats = NDArray[np.float64]

SHOWN = {0: "-", 5: (0, (4, 2))}
"""Overlaps (places in `OVERLAPS`) that are drawn, and their lines."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Precision over recall as the score falls from box to box, of one class at one overlap."""

    name: str
    overlap: float
    scores: Floats
    recall: Floats
    precision: Floats

    def at(self, score: float) -> tuple[float, float] | None:
        """Recall and precision of the boxes from a score on; None where there is no such box."""
        number = int(np.searchsorted(-self.scores, -score, side="right"))
        return (float(self.recall[number - 1]), float(self.precision[number - 1])) if number else None


def curves_of(classes: Sequence[Ranked]) -> list[Curve]:
    """The curves of the classes that have references, at each overlap that is drawn."""
    found = []
    for one in classes:
        references = one.positives[:, 0].sum()
        for place in SHOWN if references else ():
            hits, false = one.at(size=0, overlap=place)
            counted = hits | false
            right, wrong = hits[counted].cumsum(), false[counted].cumsum()
            found.append(
                Curve(
                    name=one.name,
                    overlap=float(OVERLAPS[place]),
                    scores=one.scores[counted],
                    recall=right / references,
                    precision=right / np.maximum(right + wrong, 1),
                )
            )
    return found


def best_point(classes: Sequence[Ranked]) -> tuple[float, float] | None:
    """The score at which F1 over all classes is highest, and that F1; None without a hit."""
    scores = np.concatenate([np.zeros(0), *(one.scores for one in classes)])
    flags = [one.at(size=0, overlap=0) for one in classes]
    hits, false = (np.concatenate([np.zeros(0, bool), *(part[side] for part in flags)]) for side in (0, 1))
    if not hits.any():
        return None
    order = np.argsort(-scores, kind="stable")
    references = sum(one.positives[:, 0].sum() for one in classes)
    right, wrong = hits[order].cumsum(), false[order].cumsum()
    f1 = 2 * right / (right + wrong + references)
    ends = np.flatnonzero(np.r_[np.diff(scores[order]) < 0, True])  # all boxes of a score come together
    best = ends[f1[ends].argmax()]
    return float(scores[order][best]), float(f1[best])


def curve_rows(curves: Sequence[Curve]) -> Iterator[list[Any]]:
    """Rows of a table: class, overlap, score, recall, precision."""
    for one in curves:
        for numbers in zip(one.scores, one.recall, one.precision, strict=True):
            yield [one.name, round(one.overlap, 2), *map(float, numbers)]


def plot(curves: Sequence[Curve], *, score: float) -> Callable[[Theme], Canvas]:
    """A colour for each class, a line for each overlap, a dot at the operating point."""

    def draw(theme: Theme) -> Canvas:
        from matplotlib.figure import Figure

        width = theme.width if theme.narrow else 0.6 * theme.width
        canvas = Figure(figsize=(width, 0.9 * width), layout="constrained")
        axes: Any = canvas.subplots()
        colours = dict(zip(dict.fromkeys(one.name for one in curves), theme.series * len(curves), strict=False))
        lines = {float(OVERLAPS[place]): line for place, line in SHOWN.items()}
        for one in curves:
            colour, label = colours[one.name], f"{one.name}, IoU {one.overlap:g}".replace("$", r"\$")
            style = {"color": colour, "linewidth": 1.6, "linestyle": lines[one.overlap], "label": label}
            axes.step(np.r_[0.0, one.recall], np.r_[one.precision[:1], one.precision], where="pre", **style)
            point = one.at(score)
            if point is not None:
                axes.plot(*point, color=colour, marker="o", markersize=6, clip_on=False, zorder=3)
        axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="recall", ylabel="precision")
        axes.grid()
        canvas.legend(frameon=False, fontsize="small", loc="outside lower left", ncols=1 if theme.narrow else 2)
        return canvas

    return draw

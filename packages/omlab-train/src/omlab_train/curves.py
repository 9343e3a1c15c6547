"""A picture of how a training went."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from omlab.errors import MissingDependencyError, TrainingError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NO_FIGURES = ("epoch", "seconds")
_RATE = "learning_rate"


def curves_png(history: Sequence[Mapping[str, float]], *, title: str = "") -> bytes:
    """A PNG picture of a history (`omlab_train.fit`): losses, further figures and the learning rate, one panel each.

    Training is drawn solid and validation dashed; a row may lack a figure.

    Raises:
        TrainingError: The history is empty.
        MissingDependencyError: matplotlib is not installed.
    """
    if not history:
        raise TrainingError("There is no epoch to draw a curve of.")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("Loss curves need matplotlib: install omlab-train[pictures].") from error
    names = [name for name in dict.fromkeys(name for row in history for name in row) if name not in _NO_FIGURES]
    losses = [name for name in names if "loss" in name]
    others = [name for name in names if name not in losses and name != _RATE]
    panels = [(words, chosen) for words, chosen in (("loss", losses), ("figures", others)) if chosen]
    panels += [("learning rate", [_RATE])] if _RATE in names else []
    figure = Figure(figsize=(6.4, 2.4 * len(panels) + 0.6), dpi=120, layout="constrained")
    for axes, (words, chosen) in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels, strict=True):
        _draw(axes, history, chosen)
        axes.set_ylabel(words)
    axes.set_xlabel("epoch")
    if title:
        figure.suptitle(title.replace("$", r"\$"))  # a dollar sign would start mathematical text
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _draw(axes: Axes, history: Sequence[Mapping[str, float]], names: Sequence[str]) -> None:
    from matplotlib.ticker import MaxNLocator

    colours: dict[str, str] = {}
    for name in names:
        points = [(row.get("epoch", n), row[name]) for n, row in enumerate(history, start=1) if name in row]
        x, y = zip(*points, strict=True)
        colour = colours.setdefault(name.removeprefix("val_"), f"C{len(colours)}")
        style = "--" if name.startswith("val_") else "-"
        axes.plot(x, y, style, color=colour, marker="o" if len(points) == 1 else "", label=name.replace("_", " "))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    if len(names) > 1:
        axes.legend(frameon=False)

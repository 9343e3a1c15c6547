"""The figures that upstream selects models by: of foreground against background, whatever the class, smoothed.

For figures by class use an evaluator of omlab; these are for comparison with upstream's logs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

SMOOTH = 1e-5


def foreground_figures(predicted: ArrayLike, truth: ArrayLike) -> dict[str, float]:
    """Dice, IoU, accuracy, sensitivity and specificity of one image; any label above 0 is foreground."""
    ours, theirs = np.asarray(predicted) > 0, np.asarray(truth) > 0
    both, neither = float((ours & theirs).sum()), float((~ours & ~theirs).sum())
    return {
        "dice": (2 * both + SMOOTH) / (float(ours.sum()) + float(theirs.sum()) + SMOOTH),
        "iou": (both + SMOOTH) / (float((ours | theirs).sum()) + SMOOTH),
        "accuracy": (both + neither + SMOOTH) / (ours.size + SMOOTH),
        "sensitivity": (both + SMOOTH) / (float(theirs.sum()) + SMOOTH),
        "specificity": (neither + SMOOTH) / (float((~theirs).sum()) + SMOOTH),
    }

"""The figures that upstream gives of masks; for figures with intervals use an evaluator of omlab."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

EPS = 1e-7


def batch_figures(share: ArrayLike, truth: ArrayLike, *, threshold: float = 0.5) -> dict[str, float]:
    """F-score and IoU of a whole batch pooled, by which upstream stops training."""
    ours, theirs = np.asarray(share) > threshold, np.asarray(truth) > 0
    both, either = float((ours & theirs).sum()), float((ours | theirs).sum())
    total = float(ours.sum()) + float(theirs.sum())
    return {"fscore": (2 * both + EPS) / (total + EPS), "iou": (both + EPS) / (either + EPS)}


def image_figures(predicted: ArrayLike, truth: ArrayLike) -> dict[str, float]:
    """IoU, Dice and HD95 (in pixels) of one image, as upstream's test.

    One true positive is counted where there is none, and an empty mask gets the pixel (0, 0).
    """
    ours, theirs = np.asarray(predicted) > 0, np.asarray(truth) > 0
    both = max(float((ours & theirs).sum()), 1.0)
    iou = both / (both + float((ours & ~theirs).sum()) + float((theirs & ~ours).sum()))
    return {"iou": iou, "dice": 2 * iou / (1 + iou), "hd95": hd95(ours, theirs)}


def hd95(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """The larger of the 95th percentiles of the distances from each mask's pixels to the other mask."""
    from scipy.ndimage import distance_transform_edt  # type: ignore[import-untyped]

    masks = [first.copy(), second.copy()]
    for mask in masks:
        if not mask.any():
            mask[0, 0] = True
    away = [distance_transform_edt(~mask) for mask in masks]
    return float(max(np.percentile(away[1][masks[0]], 95), np.percentile(away[0][masks[1]], 95)))

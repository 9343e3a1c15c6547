"""How well axons are found: overlaps that forgive a voxel, and precision and recall along centre lines.

Soft skeletons: Shit et al., "clDice", CVPR 2021; the rest as D-LMBmap measures it (Li et al., Nature Methods 2023).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]
from torch import Tensor
from torch.nn import functional

ROUNDS = 5
TINY = 1e-12


def soft_skeleton(volume: Tensor, *, rounds: int = ROUNDS) -> Tensor:
    """The thin core of (B, C, D, H, W) of 0 to 1: each round takes off the rim of what is thicker.

    One round is x <- relu(x - relu(M - m)), m the minimum of the 6-neighbourhood of x, M the maximum of 3^3 of m.
    """
    for _ in range(rounds):
        low = _lowest(volume)
        volume = functional.relu(volume - functional.relu(functional.max_pool3d(low, 3, stride=1, padding=1) - low))
    return volume


def _lowest(volume: Tensor) -> Tensor:
    """The minimum of each voxel and its six neighbours."""
    windows = [[3 if one == axis else 1 for one in range(3)] for axis in range(3)]
    above, beside, before = (
        functional.max_pool3d(-volume, window, stride=1, padding=[n // 2 for n in window]) for window in windows
    )
    return -torch.maximum(torch.maximum(above, beside), before)


@dataclass(frozen=True, kw_only=True)
class AxonScores:
    """Figures of one mask against another; NaN where there is nothing to divide by.

    `tolerant_iou` forgives what lies within a voxel of the label; `centreline_recall` is the share of the label's
    centre line that was found, `centreline_precision` that of the prediction's centre line inside the label, `cldice`
    their harmonic mean.
    """

    iou: float
    tolerant_iou: float
    dice: float
    recall: float
    precision: float
    centreline_recall: float
    centreline_precision: float
    cldice: float


def pooled(mask: NDArray[np.bool_], *, window: int) -> NDArray[np.bool_]:
    """`mask` with each voxel the maximum of a cube that starts there; no padding, so it shrinks by window - 1."""
    if window == 1:
        return mask
    volume = torch.from_numpy(mask.astype(np.float32))[None, None]
    for axis in range(3):  # one axis after the other: 3 window comparisons a voxel, not window^3
        volume = functional.max_pool3d(volume, [window if one == axis else 1 for one in range(3)], stride=1)
    return np.asarray(volume[0, 0].numpy() > 0)


def score(label: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> AxonScores:
    """The figures of two masks of one shape (D, H, W)."""
    both = int((label & prediction).sum())
    label_size, found_size = int(label.sum()), int(prediction.sum())
    near = int((ndimage.binary_dilation(label) & prediction).sum())
    missed, added = label_size - both, found_size - both
    recall = _along(label, inside=prediction)
    precision = _along(prediction, inside=label)
    return AxonScores(
        iou=_ratio(both, label_size + found_size - both),
        tolerant_iou=_ratio(near, near + missed + added),
        dice=(2 * both + 1) / (label_size + found_size + 1),
        recall=_ratio(both, label_size),
        precision=_ratio(both, found_size),
        centreline_recall=recall,
        centreline_precision=precision,
        cldice=_ratio(2 * recall * precision, recall + precision),
    )


def _along(mask: NDArray[np.bool_], *, inside: NDArray[np.bool_]) -> float:
    """Share of the centre line of `mask` that lies inside the other one."""
    line = soft_skeleton(torch.from_numpy(mask.astype(np.float32))[None, None])[0, 0].double().numpy()
    return float(((line * inside).sum() + TINY) / (line.sum() + TINY))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def false_share(prediction: NDArray[np.bool_]) -> float:
    """Share of the voxels of a prediction where nothing is labelled."""
    return float(prediction.mean())

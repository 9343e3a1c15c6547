"""The figures of CITE, in percent: of patches, and of slides by the mean probability of their patches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from omlab.errors import UsageError


def accuracies(
    probabilities: NDArray[np.floating], labels: Sequence[int], slides: Sequence[str]
) -> dict[str, float | None]:
    """`accuracy`, of each class (`accuracy_0`, ...; None without a case) and their mean; `bag_...` of slides.

    A slide has the mean probabilities and the class of its first patch ("soft voting").

    Args:
        probabilities: Of patches, (N, K).
        labels: The class of each patch.
        slides: The slide of each.

    Raises:
        UsageError: They are not of the same patches.
    """
    values, right = np.asarray(probabilities, np.float64), np.asarray(labels)
    if values.ndim != 2 or not len(values) == len(right) == len(slides) or not len(values):
        raise UsageError(
            f"Probabilities {values.shape}, {len(right)} labels and {len(slides)} slides are not of the same patches."
        )
    _, first, place = np.unique(np.asarray(slides), return_index=True, return_inverse=True)
    sums = np.zeros((len(first), values.shape[1]))
    np.add.at(sums, place, values)
    means = sums / np.bincount(place)[:, None]
    return {**_figures(values, right), **_figures(means, right[first], bag="bag_")}


def _figures(values: NDArray[np.float64], right: NDArray[np.int_], *, bag: str = "") -> dict[str, float | None]:
    hit = values.argmax(axis=1) == right
    by_class = [float(100 * hit[right == k].mean()) if (right == k).any() else None for k in range(values.shape[1])]
    known = [value for value in by_class if value is not None]
    return {
        f"{bag}accuracy": float(100 * hit.mean()),
        **{f"{bag}accuracy_{k}": value for k, value in enumerate(by_class)},
        f"mean_{bag}accuracy": float(np.mean(known)),
    }

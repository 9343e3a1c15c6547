"""The figures by which RETFound's fine-tuning is judged and its best epoch chosen, from scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from omlab.errors import OmlabWarning


def scores(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> dict[str, float]:
    """Nine metrics of single-label predictions, and `score`, the mean of F1, AUC and kappa, which upstream selects by.

    All but accuracy and kappa are taken of one-hot vectors and averaged over classes. AUC and average precision of a
    class without a case are not defined: it is left out of both and named in a warning (upstream stops there).

    Args:
        probabilities: (N, K), rows sum to 1.
        labels: (N,) integers of 0..K-1.
    """
    from sklearn import metrics  # type: ignore[import-untyped]

    classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    truth, guess = np.eye(classes, dtype=int)[labels], np.eye(classes, dtype=int)[predicted]
    defined = [k for k in range(classes) if 0 < truth[:, k].sum() < len(truth)]
    if len(defined) < classes:
        absent = [str(k) for k in range(classes) if k not in defined]
        message = f"The AUC of class {', '.join(absent)} is not defined on {len(labels)} cases: it is left out."
        warnings.warn(message, OmlabWarning, stacklevel=2)
    macro = {"average": "macro", "zero_division": 0}
    columns = [(truth[:, k], probabilities[:, k]) for k in defined]
    found = {
        "accuracy": metrics.accuracy_score(labels, predicted),
        "hamming": metrics.hamming_loss(truth, guess),
        "jaccard": metrics.jaccard_score(truth, guess, **macro),
        "average_precision": _mean([metrics.average_precision_score(*pair) for pair in columns]),
        "kappa": metrics.cohen_kappa_score(labels, predicted, labels=range(classes)),
        "f1": metrics.f1_score(truth, guess, **macro),
        "roc_auc": _mean([metrics.roc_auc_score(*pair) for pair in columns]),
        "precision": metrics.precision_score(truth, guess, **macro),
        "recall": metrics.recall_score(truth, guess, **macro),
    }
    found["score"] = (found["f1"] + found["roc_auc"] + found["kappa"]) / 3
    return {name: float(value) for name, value in found.items()}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")

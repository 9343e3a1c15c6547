"""The figures that PathoDuet is judged by on patches: those of its tables, by their names there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (  # type: ignore[import-untyped]
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    roc_auc_score,
)


def scores(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> dict[str, float]:
    """Accuracy, macro F1, balanced accuracy, weighted F1 and the macro AUC of each class against the others.

    Args:
        probabilities: (N, K).
        labels: (N,), numbers of the right classes; the AUC needs cases of each.
    """
    best, classes = probabilities.argmax(axis=1), np.arange(probabilities.shape[1])
    truth = labels[:, None] == classes
    return {
        "ACC": float(accuracy_score(labels, best)),
        "F1": float(f1_score(labels, best, labels=classes, average="macro", zero_division=0)),
        "bACC": float(balanced_accuracy_score(labels, best)),
        "wF1": float(f1_score(labels, best, labels=classes, average="weighted", zero_division=0)),
        "AUC": float(roc_auc_score(truth, probabilities, average="macro")),
    }

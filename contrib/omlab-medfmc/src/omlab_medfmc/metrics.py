"""The figures of MedFMC, in percent: as published, and where that is wrong, as it should be.

Scores are (N, K), labels (N, K) of 1, 0 and -1 (difficult) for several labels a case, or (N,) of classes for one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.errors import UsageError

Array = NDArray[Any]
THRESHOLD = 0.5
SMALL = np.finfo(np.float32).eps


@dataclass(frozen=True, kw_only=True)
class Areas:
    """Areas under the ROC curves.

    Attributes:
        by_class: Of each class; None where its cases are all alike.
        published: As the challenge counted: for such a class that of the class before is taken once more.
    """

    by_class: tuple[float | None, ...]
    published: tuple[float, ...]

    @property
    def mean(self) -> float | None:
        """Over the classes that have one."""
        found = [area for area in self.by_class if area is not None]
        return float(np.mean(found)) if found else None

    @property
    def published_mean(self) -> float | None:
        """As the challenge counted."""
        return float(np.mean(self.published)) if self.published else None


def average_precisions(scores: Array, labels: Array) -> list[float]:
    """For each class the mean over its positives of the precision down to their scores; 0 without positives.

    Difficult cases do not count. Ties keep the order of the cases (upstream: any).
    """
    scores, labels = checked(scores, labels)
    found = []
    for score, label in zip(scores.T, labels.T, strict=True):
        ranked = label[np.argsort(-score, kind="stable")]
        ranked = ranked[ranked != -1]
        positive = ranked == 1
        precision = positive.cumsum() / np.arange(1, len(ranked) + 1)
        found.append(100 * float(precision[positive].mean()) if positive.any() else 0.0)
    return found


def mean_average_precision(scores: Array, labels: Array) -> float:
    """Over all classes: one without positives, such as tumor in Endo's public test list, counts as 0."""
    return float(np.mean(average_precisions(scores, labels)))


def areas(scores: Array, labels: Array) -> Areas:
    """Areas of several labels, difficult cases left out."""
    from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped]

    scores, labels = checked(scores, labels)
    by_class: list[float | None] = []
    published: list[float] = []
    for score, label in zip(scores.T, labels.T, strict=True):
        known = label != -1
        has_both = len(np.unique(label[known])) > 1
        by_class.append(100 * float(roc_auc_score(label[known], score[known])) if has_both else None)
        if by_class[-1] is not None or published:
            published.append(by_class[-1] if by_class[-1] is not None else published[-1])
    return Areas(by_class=tuple(by_class), published=tuple(published))


def area_of_classes(scores: Array, labels: Array, *, twice: bool = False) -> float | None:
    """Of one class a case: the mean over classes, each against the rest; None where a class has no case.

    `twice`: of the softmax of what are probabilities already, as published; it matters from three classes on.
    """
    scores, labels = checked(scores, labels)
    if twice:
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores = powers / powers.sum(axis=1, keepdims=True)
    found = areas(scores, np.eye(scores.shape[1])[labels]).by_class
    return None if None in found else float(np.mean(np.array(found, dtype=float)))


def accuracy(scores: Array, labels: Array, *, top: int = 1) -> float:
    """Cases whose class is among the `top` best scores; a score of 0 or less is none."""
    scores, labels = checked(scores, labels)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    hit = (best == labels[:, None]) & (np.take_along_axis(scores, best, axis=1) > 0)
    return 100 * float(hit.any(axis=1).mean())


def precision_recall_f1(scores: Array, labels: Array) -> dict[str, float]:
    """Of scores from 0.5 on: mean of the classes (CP, CR, CF1) and of all labels together (OP, OR, OF1)."""
    scores, labels = checked(scores, labels)
    said, true = (scores >= THRESHOLD) & (labels != -1), labels == 1
    hits, said_count, true_count = ((said & true).sum(0), said.sum(0), true.sum(0))
    parts = {
        "C": (np.mean(hits / np.maximum(said_count, SMALL)), np.mean(hits / np.maximum(true_count, SMALL))),
        "O": (hits.sum() / max(said_count.sum(), SMALL), hits.sum() / max(true_count.sum(), SMALL)),
    }
    found: dict[str, float] = {}
    for letter, (precision, recall) in parts.items():
        both = max(precision + recall, SMALL)
        values = (precision, recall, 2 * precision * recall / both)
        found |= {f"{letter}{name}": 100 * float(value) for name, value in zip(("P", "R", "F1"), values, strict=True)}
    return found


def challenge_figures(scores: Array, labels: Array, *, multi_label: bool, published: bool) -> dict[str, float | None]:
    """The two figures that a set counts by: mAP or accuracy, and AUC."""
    if multi_label:
        found = areas(scores, labels)
        area = found.published_mean if published else found.mean
        return {"mAP": mean_average_precision(scores, labels), "AUC": area}
    return {"accuracy": accuracy(scores, labels), "AUC": area_of_classes(scores, labels, twice=published)}


def aggregate(figures: Sequence[Mapping[str, float | None]]) -> float:
    """The challenge's one figure: the mean over sets, shots and runs of both figures.

    The challenge's page words it so; how it weighs is not known exactly.

    Raises:
        UsageError: There are none, or one is not defined.
    """
    values = [value for row in figures for value in row.values()]
    if not values or any(value is None for value in values):
        raise UsageError("A figure is not defined (a class without cases): there is no mean over all of them.")
    return float(np.mean(np.array(values, dtype=float)))


def checked(scores: Array, labels: Array) -> tuple[Array, Array]:
    """Both as arrays. Raises `UsageError` where they do not belong together or a score is no number."""
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    wanted = scores.shape if labels.ndim > 1 else scores.shape[:1]
    if scores.ndim != 2 or labels.shape != wanted or not len(scores):
        raise UsageError(f"Scores {scores.shape} and labels {labels.shape} are not those of the same cases.")
    if not np.isfinite(scores).all():
        raise UsageError(f"{int((~np.isfinite(scores)).sum())} scores are no finite numbers.")
    return scores, labels

"""The metrics: accuracy, set F1, macro F1, ROUGE-L; each as a sum over items, so that it can be resampled.

An item contributes a vector; the score is a function of the sum of vectors. `Tally.of` takes sums (..., parts).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab_medbench.tokens import common_length, tokens

Floats = NDArray[np.float64]
Entity = Mapping[str, Any]

NOTHING = "无 。"
"""What a text without any token is compared as."""

ROUGE_TINY = 1e-8


@dataclass(frozen=True)
class Tally:
    """Contributions (items, parts) and the score of their sum."""

    parts: Floats
    of: Callable[[Floats], Floats]

    @property
    def score(self) -> float:
        """The score of all items."""
        return float(self.of(self.parts.sum(axis=0)))

    def rounds(self, weights: Floats) -> Floats:
        """Scores of resampled items: `weights` (rounds, items) says how often each was drawn."""
        return self.of(weights @ self.parts)


def mean_tally(values: Sequence[float | None]) -> Tally:
    """The mean of the values; None is skipped, and 0 is the mean of nothing."""
    parts = [(0.0, 0.0) if value is None else (float(value), 1.0) for value in values]
    return Tally(np.array(parts).reshape(-1, 2), lambda sums: _ratio(sums[..., 0], sums[..., 1]))


def set_f1_tally(gold: Sequence[Sequence[Entity]], predicted: Sequence[Sequence[Entity]]) -> Tally:
    """Micro F1 over sets of entities: an entity is the JSON of its values in the order of its keys."""
    parts = []
    for wanted, found in zip(gold, predicted, strict=True):
        ours, theirs = set(map(_key, wanted)), set(map(_key, found))
        parts.append((len(ours & theirs), len(theirs - ours), len(ours - theirs)))
    return Tally(np.array(parts, dtype=np.float64).reshape(-1, 3), lambda sums: precision_recall_f1(sums)[2])


def precision_recall_f1(sums: Floats) -> tuple[Floats, Floats, Floats]:
    """Of (..., [tp, fp, fn]); all 0 where nothing was hit."""
    hit, wrong, missed = sums[..., 0], sums[..., 1], sums[..., 2]
    precision, recall = _ratio(hit, hit + wrong), _ratio(hit, hit + missed)
    return precision, recall, _ratio(2 * precision * recall, precision + recall)


def _key(entity: Entity) -> tuple[str, ...]:
    return tuple(json.dumps(entity[name], ensure_ascii=False) for name in sorted(entity))


def macro_tally(gold: Sequence[str], predicted: Sequence[str], *, first_label: str = "") -> Tally:
    """Macro F1 over the labels that occur on either side. A blank prediction counts as `first_label` if given."""
    predicted = [label or first_label for label in predicted]
    labels = sorted({*gold, *predicted})
    place = {label: n for n, label in enumerate(labels)}
    parts = np.zeros((len(gold), len(labels), 3))
    for n, (wanted, found) in enumerate(zip(gold, predicted, strict=True)):
        if wanted == found:
            parts[n, place[wanted], 0] = 1
        else:
            parts[n, place[found], 1] = 1
            parts[n, place[wanted], 2] = 1

    def score(sums: Floats) -> Floats:
        return macro_of(sums.reshape(*sums.shape[:-1], len(labels), 3))[2]

    return Tally(parts.reshape(len(gold), -1), score)


def macro_of(sums: Floats) -> tuple[Floats, Floats, Floats]:
    """Macro precision, recall and F1 of (..., labels, [tp, fp, fn]); labels that do not occur do not count."""
    occurs = sums.sum(axis=-1) > 0
    count = np.maximum(occurs.sum(axis=-1), 1)
    precision, recall, f1 = (np.where(occurs, x, 0.0).sum(axis=-1) / count for x in precision_recall_f1(sums))
    return precision, recall, f1


def rouge_l(gold: str, predicted: str) -> float:
    """F of the longest common subsequence of tokens."""
    ours, theirs = tokens(gold) or NOTHING.split(), tokens(predicted) or NOTHING.split()
    common = common_length(ours, theirs)
    precision, recall = common / len(theirs), common / len(ours)
    return 2.0 * precision * recall / (precision + recall + ROUGE_TINY)


def _ratio(above: Floats, below: Floats) -> Floats:
    above, below = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)

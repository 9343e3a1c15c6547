"""Adapter `nearest-centroid`: the class whose mean training embedding is most alike.

Where each class is right or not by itself, it has two means, of the cases that are of it and of those that are not; its
probability is the softmax over the similarities to both. A class that has training cases of one sort only always has
the probability 0 (none is of it) or 1 (all are).

Source: Snell et al., Prototypical Networks for Few-shot Learning, NeurIPS 2017, eq. (1) and (2), by cosine similarity.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omlab.card_schema import AdapterCard
from omlab_adapters.probes.adapter import EmbeddingAdapter, Learned
from omlab_adapters.probes.heads import Answers, Head
from omlab_adapters.probes.lessons import Floats, Form, Lesson, Matrix
from omlab_adapters.probes.neighbours import unit


def load(card: AdapterCard, *, settings: Mapping[str, Any]) -> Centroid:
    """The entry of the card."""
    return Centroid(temperature=settings["temperature"])


class Centroid(EmbeddingAdapter):
    """Class means on any model that embeds (`omlab.roles.Adapter`).

    Args:
        temperature: Of the softmax over similarities.
    """

    forms = frozenset(("one", "several"))

    def __init__(self, *, temperature: float) -> None:
        self.temperature = temperature

    def learn(self, lesson: Lesson, *, seed: int) -> Learned:
        """Keep the means, (1, K, D), or where each class is by itself (2, K, D), and how many cases each is of."""
        vectors, several = unit(lesson.vectors), lesson.form == "several"
        kept = [k for k in range(len(lesson.names)) if several or (lesson.targets[:, k] == 1).any()]
        sides = [lesson.targets[:, kept] == side for side in ((1, 0) if several else (1,))]
        means = np.stack([_means(vectors, side) for side in sides])
        counts = np.stack([side.sum(axis=0) for side in sides]).astype(np.float32)
        return Learned(
            answers=Answers(form=lesson.form, names=tuple(lesson.names[k] for k in kept)),
            tensors={"means": torch.from_numpy(means), "counts": torch.from_numpy(counts)},
        )

    def head(self, tensors: Mapping[str, Tensor], *, form: Form) -> Head:
        """The softmax over similarities."""
        means, is_there = tensors["means"].to(torch.float64), tensors["counts"][:, None] > 0

        def give(asked: Matrix) -> Floats:
            similarity = torch.from_numpy(unit(asked)).to(torch.float64) @ means.mT / self.temperature
            similarity = torch.where(is_there, similarity, -torch.inf)
            # of a class that nobody annotated no mean is there, and 0 comes of it
            found = similarity[0].softmax(dim=-1) if form == "one" else similarity.softmax(dim=0)[0].nan_to_num(nan=0.0)
            result: Floats = found.numpy()
            return result

        return give


def _means(vectors: Matrix, flags: Any) -> Matrix:
    """The direction of the mean of each class' vectors, (N, D) and flags (N, K) to (K, D); 0 where there are none."""
    return unit(flags.T.astype(np.float32) @ vectors)

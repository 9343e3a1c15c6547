"""Adapter `knn`: the nearest training embeddings vote, weighted by exp(similarity / temperature).

Where each class is right or not by itself, its probability is the weighted share of those among the neighbours that are
of it, of those that say whether they are. Of a class that no neighbour says anything of, it is the share in training.

Source: Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018, eq. (9).
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


def load(card: AdapterCard, *, settings: Mapping[str, Any]) -> Neighbours:
    """The entry of the card."""
    return Neighbours(count=settings["neighbours"], temperature=settings["temperature"])


class Neighbours(EmbeddingAdapter):
    """k-nearest neighbours on any model that embeds (`omlab.roles.Adapter`).

    Args:
        count: How many vote; all of them where there are fewer.
        temperature: Smaller gives the nearest more weight.
    """

    forms = frozenset(("one", "several"))

    def __init__(self, *, count: int, temperature: float) -> None:
        self.count, self.temperature = count, temperature

    def learn(self, lesson: Lesson, *, seed: int) -> Learned:
        """Keep the embeddings and what is right for each."""
        tensors = {
            "vectors": torch.from_numpy(unit(lesson.vectors)),
            "right": torch.from_numpy((lesson.targets == 1).astype(np.float32)),
            "known": torch.from_numpy(np.isfinite(lesson.targets).astype(np.float32)),
        }
        return Learned(answers=Answers(form=lesson.form, names=lesson.names), tensors=tensors)

    def head(self, tensors: Mapping[str, Tensor], *, form: Form) -> Head:
        """The votes."""
        vectors = tensors["vectors"].numpy()
        right, known = (tensors[name].numpy().astype(np.float64) for name in ("right", "known"))
        at_large = right.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        count = min(self.count, len(vectors))

        def give(asked: Matrix) -> Floats:
            similarity = unit(asked) @ vectors.T
            nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :count]
            found = np.take_along_axis(similarity, nearest, axis=1).astype(np.float64)
            weights = np.exp((found - found.max(axis=1, keepdims=True)) / self.temperature)
            votes = np.einsum("nk,nkc->nc", weights, right[nearest])
            of = np.einsum("nk,nkc->nc", weights, known[nearest])
            shares: Floats = np.divide(votes, of, out=np.broadcast_to(at_large, votes.shape).copy(), where=of > 0)
            return shares

        return give


def unit(vectors: Matrix) -> Matrix:
    """Vectors (..., D) of length 1; those of length 0 stay."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)

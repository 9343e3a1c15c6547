"""The training split as probes see it: a matrix of embeddings and the class of each, from the feature store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab import cases_for, features
from omlab.errors import OmlabError, TrainingError
from omlab.roles import Case, Dataset
from omlab.session import Session
from omlab_payloads.classes import Classes
from omlab_payloads.embedding import Embedding
from omlab_payloads.embeddings import open_embeddings

VERB = "embed"
Matrix = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Embeddings (N, D) and, for each, the index of its class in `classes`."""

    vectors: Matrix
    labels: NDArray[np.int64]
    classes: tuple[str, ...]


def training_features(session: Session, data: Dataset, *, folder: Path) -> Labelled:
    """Embed the training split, once, and look up its classes.

    Raises:
        TrainingError: A case has no class, or there is but one class.
        OmlabError: A case cannot be embedded.
    """
    cases = cases_for(session, VERB, data, "train")
    names = {case.id: _class_of(case) for case in cases}
    classes = tuple(dict.fromkeys([*_declared(data), *sorted(set(names.values()))]))
    if len(set(names.values())) < 2:
        raise TrainingError(f"All training cases are '{next(iter(names.values()), '')}': a probe needs two classes.")
    ids, matrix = open_embeddings(features(session, VERB, cases, folder=folder / "features"))
    rows = [row for row, id in enumerate(ids) if id in names]
    return Labelled(
        vectors=np.asarray(matrix[rows], dtype=np.float32),
        labels=np.array([classes.index(names[ids[row]]) for row in rows]),
        classes=classes,
    )


def embedded(session: Session, batch: Sequence[Mapping[str, Any]]) -> list[Matrix | OmlabError]:
    """The vectors of a batch of inputs; an error stands for a case that has none."""
    return [
        result.vector if isinstance(result, Embedding) else _error(result)
        for result in session.apply(VERB, list(batch))
    ]


def unit(vectors: Matrix) -> Matrix:
    """Vectors (..., D) of length 1; those of length 0 stay."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def softmax(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Probabilities (N, K) of scores."""
    powers = np.exp(scores.astype(np.float64) - scores.max(axis=-1, keepdims=True))
    result: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return result


def _error(result: object) -> OmlabError:
    return result if isinstance(result, OmlabError) else TrainingError("The model gave no embedding.")


def _declared(data: Dataset) -> list[str]:
    about = data.about("train")
    return [about.classes[value] for value in sorted(about.classes)]


def _class_of(case: Case) -> str:
    """The class of a case: what its list says (`label`), else its target."""
    label = getattr(case, "label", None)
    if isinstance(label, str):
        return label
    target = case.load().target
    if not isinstance(target, Classes) or len(target.predicted) != 1:
        raise TrainingError(f"Case '{case.id}' has no single class to learn from.")
    return target.predicted[0]

"""Models that embed an input and say its class by what an adapter learned of embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.errors import OmlabError
from omlab.roles import Base
from omlab.session import Session
from omlab_adapters.features import VERB, Matrix, embedded
from omlab_payloads.classes import Classes

Head = Callable[[Matrix], NDArray[np.float64]]
"""Embeddings (N, D) to probabilities (N, K)."""


class HeadModel:
    """Verbs `predict`, by a head on embeddings, and `embed`, the base's own."""

    def __init__(self, session: Session, *, head: Head, classes: Sequence[str]) -> None:
        self.session, self.head, self.classes = session, head, tuple(classes)

    def predict(self, batch: Sequence[Mapping[str, Any]], /) -> Iterator[Classes | OmlabError]:
        """The probability of each class."""
        for vector in embedded(self.session, batch):
            if isinstance(vector, OmlabError):
                yield vector
            else:
                yield Classes(names=self.classes, probabilities=self.head(vector[None])[0].tolist())

    def embed(self, batch: Sequence[Mapping[str, Any]], /, **options: Any) -> list[Any]:
        """What the base embeds."""
        return self.session.apply(VERB, list(batch), **options)


def verbs(base: Base) -> dict[str, Any]:
    """What a model with a head does: it embeds as its base does, and predicts classes from the same inputs."""
    facts = base.session().card.does[VERB].model_dump(mode="json", exclude_defaults=True)
    predict = {name: value for name, value in facts.items() if name in ("takes", "accepts", "batch")}
    return {VERB: facts, "predict": {**predict, "gives": Classes.kind}}

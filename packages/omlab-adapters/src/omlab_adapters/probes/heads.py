"""Models that embed an input and say its class, or a number, by what an adapter learned of embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.errors import OmlabError, TrainingError
from omlab.roles import Base
from omlab.session import Session
from omlab_adapters.probes.lessons import VERB, Form, Matrix
from omlab_payloads.classes import Classes
from omlab_payloads.embedding import Embedding
from omlab_payloads.scores import Scores

Head = Callable[[Matrix], NDArray[np.float64]]
"""Embeddings (N, D) to probabilities, or numbers, (N, K)."""

THRESHOLD = 0.5
"""From which probability on a class is predicted, where each is right or not by itself."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What the numbers of a head are called (JSON by `to_config`).

    Attributes:
        form: Of the answers.
        names: Of the classes or numbers.
        units: Of the numbers, where known.
        coverage: In what share of cases prediction sets hold all that is right; None: there are none.
        level: From which probability on a class is in the set.
    """

    form: Form
    names: tuple[str, ...]
    units: Mapping[str, str] = field(default_factory=dict)
    coverage: float | None = None
    level: float | None = None

    def to_config(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "form": self.form,
            "names": list(self.names),
            "units": dict(self.units),
            "coverage": self.coverage,
            "level": self.level,
        }

    @staticmethod
    def from_config(config: Mapping[str, Any]) -> Answers:
        """As `to_config` gave them."""
        return Answers(**{**config, "names": tuple(config["names"])})

    def payload(self, numbers: NDArray[np.float64]) -> Classes | Scores:
        """The answer for one case, of what its head gave, (K,)."""
        if self.form == "scores":
            return Scores(values=dict(zip(self.names, numbers.tolist(), strict=True)), units=self.units)
        return Classes(
            names=self.names,
            probabilities=np.clip(numbers, 0.0, 1.0).tolist(),
            threshold=THRESHOLD if self.form == "several" else None,
            set_level=self.level,
            set_coverage=self.coverage,
        )


class HeadModel:
    """Verbs `predict`, by a head on embeddings (`omlab.abilities.AnswersEmbeddings`), and those of the base."""

    def __init__(self, session: Session, *, head: Head, answers: Answers) -> None:
        self.session, self.head, self.answers = session, head, answers

    def predict(self, batch: Sequence[Mapping[str, Any]], /) -> Iterator[Classes | Scores | OmlabError]:
        """The probability of each class, or the numbers."""
        return self.predict_embedded(self.session.apply(VERB, list(batch)))

    def predict_embedded(self, embeddings: Sequence[Any], /) -> Iterator[Classes | Scores | OmlabError]:
        """The same for inputs whose embeddings are known; an error among them stays."""
        for found in embeddings:
            if isinstance(found, Embedding):
                yield self.answers.payload(self.head(found.vector[None])[0])
            else:
                yield found if isinstance(found, OmlabError) else TrainingError("The model gave no embedding.")

    def embed(self, batch: Sequence[Mapping[str, Any]], /, **options: Any) -> list[Any]:
        """What the base embeds."""
        return self.session.apply(VERB, list(batch), **options)

    def explain(self, batch: Sequence[Mapping[str, Any]], /, **options: Any) -> list[Any]:
        """What the base looks at: it does not depend on the head."""
        return self.session.apply("explain", list(batch), **options)


def verbs(base: Base, form: Form) -> dict[str, Any]:
    """What a model with a head does: embeds and explains as its base does, and predicts from the same inputs."""
    does = base.session().card.does
    kept = {
        name: facts.model_dump(mode="json", exclude_defaults=True)
        for name, facts in does.items()
        if name in (VERB, "explain")
    }
    predict = {name: value for name, value in kept[VERB].items() if name in ("takes", "accepts", "batch")}
    return {**kept, "predict": {**predict, "gives": Scores.kind if form == "scores" else Classes.kind}}

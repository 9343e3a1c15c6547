"""What every adapter on embeddings does: read the lessons, learn each, keep what was learned, and answer by it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from omlab.errors import OmlabError, TrainingError
from omlab.roles import Adapted, Base, Dataset, Model
from omlab.weights import read_state_dict
from omlab_adapters.changes import save
from omlab_adapters.probes.heads import Answers, Head, HeadModel, verbs
from omlab_adapters.probes.lessons import Form, Lesson, check_two_sides, read_lessons


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What was learned of a lesson: how answers are called, and tensors that a head is made of."""

    answers: Answers
    tensors: Mapping[str, Tensor]
    history: Sequence[Mapping[str, Any]] = field(default_factory=list)


class EmbeddingAdapter(ABC):
    """An adapter that learns from embeddings alone (`omlab.roles.Adapter`, `omlab.abilities.FitsMany`).

    A subclass says what it learns of a lesson, and makes a head of it.
    """

    forms: ClassVar[frozenset[Form]]
    """Of the targets that can be learned from."""

    needs_val: bool = False
    """Whether the split `val` is read, too."""

    @abstractmethod
    def learn(self, lesson: Lesson, *, seed: int) -> Learned:
        """Learn from the embeddings and targets of an episode. Raises `TrainingError`."""

    @abstractmethod
    def head(self, tensors: Mapping[str, Tensor], *, form: Form) -> Head:
        """What gives the answers, of the tensors of `learn`."""

    def fit(
        self,
        base: Base,
        data: Dataset,
        *,
        recipe: str | None,
        settings: Mapping[str, Any],
        seed: int,
        folder: Path,
    ) -> Adapted:
        """Embed the training split and learn from it.

        Raises:
            TrainingError: Targets say nothing that can be learned, such as one class alone.
            OmlabError: A case cannot be embedded.
        """
        features = folder / "features"
        (found,) = self.fit_many(
            base, [data], recipe=recipe, settings=settings, seeds=[seed], folders=[folder], features=features
        )
        if isinstance(found, OmlabError):
            raise found
        return found

    def fit_many(
        self,
        base: Base,
        episodes: Sequence[Dataset],
        *,
        recipe: str | None,
        settings: Mapping[str, Any],
        seeds: Sequence[int],
        folders: Sequence[Path],
        features: Path,
    ) -> list[Adapted | OmlabError]:
        """Learn from many episodes (shots, seeds) of one data set; see `omlab.abilities.FitsMany`."""
        lessons = read_lessons(base.session(), episodes, with_val=self.needs_val, folder=features)
        return [
            lesson if isinstance(lesson, OmlabError) else self._adapted(base, lesson, seed=seed, folder=folder)
            for lesson, seed, folder in zip(lessons, seeds, folders, strict=True)
        ]

    def restore(self, base: Base, *, config: Mapping[str, Any], tensors: Path) -> Model:
        """The base with its head."""
        answers = Answers.from_config(config)
        return HeadModel(base.session(), head=self.head(read_state_dict(tensors), form=answers.form), answers=answers)

    def _adapted(self, base: Base, lesson: Lesson, *, seed: int, folder: Path) -> Adapted | OmlabError:
        try:
            if lesson.form not in self.forms:
                raise TrainingError("The targets are numbers, but this adapter tells classes: use linear-probe.")
            check_two_sides(lesson)
            learned = self.learn(lesson, seed=seed)
        except TrainingError as error:
            return error
        folder.mkdir(parents=True, exist_ok=True)
        return Adapted(
            config=learned.answers.to_config(),
            tensors=save(learned.tensors, folder),
            does=verbs(base, lesson.form),
            history=learned.history,
        )

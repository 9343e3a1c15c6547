"""What data sets, adapters, adapted models and evaluators may be able to do besides their roles (`omlab.roles`).

Each is a protocol that is looked for with `isinstance`: who lacks one is used in the ordinary way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from omlab.payloads import Payload
from omlab.roles import Adapted, Answers, Base, Dataset, Metric, Rows

if TYPE_CHECKING:
    from omlab.errors import OmlabError


@runtime_checkable
class HasEpisodes(Protocol):
    """A data set with few-shot lists of its own, such as those that a benchmark published."""

    def episode(self, shots: int, seed: int) -> Dataset | None:
        """The data set with its own list of so many shots for `train`; None: it has none, `omlab.episodes` draws."""
        ...


@runtime_checkable
class FitsMany(Protocol):
    """An adapter that does many episodes at once, such as those of `omlab.episodes(data, shots, seeds)`."""

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
    ) -> Sequence[Adapted | OmlabError]:
        """Adapt to the `train` split of each episode; all are of one data set, so that an id is one case.

        What it gives for an episode is, to the byte, what it gives for that one alone or in other company. An episode
        that cannot be learned from gives an error in its place and harms no other.

        Args:
            base: The model.
            episodes: Data sets.
            recipe: As for `fit`.
            settings: As for `fit`.
            seeds: One for each episode.
            folders: One for each episode, made where they are not there: `Adapted.tensors` lies in it.
            features: The folder of a feature store (`omlab.features`), which other adapters and calls may share: what
                is in it is not computed again.
        """
        ...


@runtime_checkable
class AnswersEmbeddings(Protocol):
    """An adapted model that answers by its base's embeddings alone: these, once stored, are not computed again."""

    def predict_embedded(self, embeddings: Sequence[Payload | OmlabError], /) -> Answers:
        """What `predict` gives for inputs with these embeddings; an error among them stays."""
        ...


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """The figures of the whole for cases that count several times, or not at all.

    Attributes:
        measures: The figures by name, unit and direction; their values are left open.
        figures: How often each case counts, (rounds, cases) in the order of the rows, to the figures of each round,
            (rounds, measures); NaN: not defined there.
    """

    measures: Sequence[Metric]
    figures: Callable[[Any], Any]


@runtime_checkable
class Resamples(Protocol):
    """An evaluator whose figures can be had for resampled cases: what benchmarks compare models by.

    `headline` names the figure that a ranking goes by, where nobody says otherwise.
    """

    headline: str

    def resampled(self, rows: Rows) -> Resampled:
        """The rows of all cases, ready to be weighed."""
        ...


@runtime_checkable
class Illustrates(Protocol):
    """An evaluator whose page shows where a model looked, for some cases, if it has a verb `explain`."""

    def illustrated(self, rows: Rows) -> Sequence[str]:
        """Ids of the cases that the page shows."""
        ...

    def illustrate(self, case: str, explanation: Payload, folder: Path) -> None:
        """Keep what `explain` gave for a case in `folder`, for `report` to find."""
        ...

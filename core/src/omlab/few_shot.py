"""Few-shot episodes: data sets whose `train` split is drawn from another's, k cases of each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from omlab.abilities import HasEpisodes
from omlab.digests import digest_of
from omlab.errors import UsageError
from omlab.roles import About, Case, Dataset
from omlab.surveys import classes_in

TRAIN = "train"


@dataclass(frozen=True, kw_only=True)
class Episode:
    """A data set of a few cases (`omlab.roles.Dataset`); its other splits are those of `data`, untouched.

    Attributes:
        data: What it is drawn from.
        shots: Cases of each class.
        seed: Of the draw.
        drawn: The cases of `train`.
        classes: Of the targets, where `data` does not say them.
    """

    data: Dataset
    shots: int
    seed: int
    drawn: Sequence[Case]
    classes: Mapping[int, str] = field(default_factory=dict)

    def splits(self) -> Sequence[str]:
        """As the data set has them."""
        return self.data.splits()

    def prepare(self) -> None:
        """Prepare the data set."""
        self.data.prepare()

    def about(self, split: str) -> About:
        """As the data set says, with the numbers of what was drawn."""
        about = self.data.about(split)
        if split == TRAIN:
            groups = {case.group for case in self.drawn}
            about = replace(about, cases=len(self.drawn), groups=None if None in groups else len(groups))
        return about if about.classes else replace(about, classes=dict(self.classes))

    def digest(self, split: str) -> str:
        """Of the data set's, and of what was drawn."""
        digest = self.data.digest(split)
        return digest_of([digest, [case.id for case in self.drawn]]) if split == TRAIN else digest

    def cases(self, split: str) -> Sequence[Case]:
        """Those drawn, in the data set's order; of another split all."""
        return list(self.drawn) if split == TRAIN else self.data.cases(split)

    def verify(self) -> Sequence[str]:
        """What is wrong with the data set."""
        return self.data.verify()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "data":
            raise AttributeError(name)
        return getattr(self.data, name)


def episodes(data: Dataset, shots: int | Iterable[int], seeds: int | Iterable[int]) -> list[Dataset]:
    """Episodes for each number of shots and each seed, in that order: the data set's own, else drawn ones.

    A drawn one depends on the seed and the ids alone, and holds the episodes of fewer shots with the same seed, so that
    more shots are more of the same. A group (patient) gives a class at most one of its `shots`, and a group that has a
    case in another split gives none. A case with several classes counts for each.

    Args:
        data: Its `train` split is drawn from.
        shots: Cases a class, or several numbers of them.
        seeds: A seed, or several.

    Raises:
        UsageError: A class has too few cases, targets have no classes, or there is no `train` split.
    """
    numbers, draws = _several(shots), _several(seeds)
    if min(numbers, default=0) < 1:
        raise UsageError(f"An episode has at least one shot, not {min(numbers, default=0)}.")
    if TRAIN not in data.splits():
        raise UsageError(f"Episodes are drawn from the split '{TRAIN}', but there are {', '.join(data.splits())}.")
    pool: _Pool | None = None
    found: list[Dataset] = []
    for number in numbers:
        for seed in draws:
            own = data.episode(number, seed) if isinstance(data, HasEpisodes) else None
            if own is not None:
                own.prepare()
            else:
                pool = pool or _pool(data)
                own = pool.episode(number, seed)
            found.append(own)
    return found


@dataclass(frozen=True, kw_only=True)
class _Pool:
    """The cases that episodes are drawn from, with the classes of each."""

    data: Dataset
    cases: Sequence[Case]
    labels: Sequence[frozenset[str]]
    classes: Mapping[int, str]

    def episode(self, shots: int, seed: int) -> Episode:
        chosen = _draw(self.cases, self.labels, shots=shots, seed=seed)
        drawn = [case for index, case in enumerate(self.cases) if index in chosen]
        return Episode(data=self.data, shots=shots, seed=seed, drawn=drawn, classes=self.classes)


def _pool(data: Dataset) -> _Pool:
    elsewhere = {
        case.group for split in data.splits() if split != TRAIN for case in data.cases(split) if case.group is not None
    }
    cases = [case for case in data.cases(TRAIN) if case.group not in elsewhere]
    classes: dict[int, str] = {}
    labels = _labels(cases, classes)
    return _Pool(data=data, cases=cases, labels=labels, classes=classes)


def _several(value: int | Iterable[int]) -> list[int]:
    return [value] if isinstance(value, int) else list(value)


def _labels(cases: Sequence[Case], classes: dict[int, str]) -> list[frozenset[str]]:
    """The classes of each case: what the case says of itself (`label`), else what is in its target, read once."""
    said = [getattr(case, "label", None) for case in cases]
    if all(label is not None for label in said):
        return [frozenset([str(label)]) for label in said]
    found = []
    for present in classes_in(cases):
        classes.update({value: name for value, name in present.items() if value not in classes})
        found.append(frozenset(present.values()))
    return found


def _draw(cases: Sequence[Case], labels: Sequence[frozenset[str]], *, shots: int, seed: int) -> set[int]:
    """Indices of `shots` cases for each class, the rarest class first: what it took counts for the others."""
    order = sorted(range(len(cases)), key=lambda index: sha256(f"{seed}/{cases[index].id}".encode()).digest())
    groups = [case.group if case.group is not None else f"case {case.id}" for case in cases]
    names = Counter(name for label in labels for name in label)
    if not names:
        raise UsageError("No case of the split has a class to draw by.")
    chosen: set[int] = set()
    for shot in range(1, shots + 1):  # a round at a time, so that fewer shots are the beginning of more
        for name in sorted(names, key=lambda name: (names[name], name)):
            taken = {groups[index] for index in chosen if name in labels[index]}
            if len(taken) >= shot:
                continue
            free = (i for i in order if name in labels[i] and groups[i] not in taken and i not in chosen)
            first = next(free, None)
            if first is None:
                raise UsageError(
                    f"The class '{name}' has cases of {len(taken)} groups (patients), but {shots} shots were asked for."
                )
            chosen.add(first)
    return chosen

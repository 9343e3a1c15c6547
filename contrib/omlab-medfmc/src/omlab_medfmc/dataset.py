"""The data sets `medfmc-chest`, `-colon`, `-endo`, `-neojaundice` and `-retino`: published lists, whole or few-shot."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

from omlab import About
from omlab.card_schema import DatasetCard
from omlab.cases import PathCase, Source
from omlab.datasets import check_split
from omlab.digests import digest_of
from omlab.errors import InputError, OmlabWarning
from omlab.roles import Case
from omlab_data.files import missing_files, size_of
from omlab_data.verify import look_through
from omlab_medfmc.layout import UPSTREAM, Layout, few_shot_list, find_layout
from omlab_medfmc.lists import Entry, overlap, read_list
from omlab_medfmc.sets import SETS, MedfmcSet
from omlab_medfmc.support import support_set, validation_set

PREFIX = "medfmc-"
WHOLE = {
    "train": ("train_20", "{}_train", "train", "fewshot-pool", "trainval"),
    "val": ("val_20", "val"),
    "test": ("test_WithLabel", "test"),
    "unlabelled": ("test_WithoutLabel", "{}_val", "{}_test"),
}
"""For each split the lists that it may be, the first that is there."""
POOLS = ("trainval", "fewshot-pool", "{}_train", "train_20", "train")
"""What few-shot sets are drawn from: the first that is there."""
THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Which few-shot set is wanted.

    Attributes:
        shots: Images or studies of each class; 0: the whole lists.
        exp: Number of the published run; of a draw of one's own its seed.
        own: Draw by MedFMC's rule, in place of the published lists.
        disjoint: Leave out of the validation list what is trained on.
    """

    shots: int = 0
    exp: int = 1
    own: bool = False
    disjoint: bool = False


@dataclass(frozen=True, kw_only=True)
class MedfmcCase(PathCase):
    """An image of a list; `label` is its class, where a case has but one."""

    label: str | None = None


def open_medfmc(card: DatasetCard, *, root: Path, settings: Mapping[str, Any]) -> Medfmc:
    """Entry of the cards."""
    draw = Draw(shots=settings["shots"], exp=settings["exp"], own=settings["drawn"], disjoint=settings["disjoint"])
    lists = Path(settings["lists"]) if settings["lists"] else None
    return Medfmc(SETS[card.name.removeprefix(PREFIX)], root=root, lists=lists, draw=draw)


class Medfmc:
    """One set (`omlab.roles.Dataset`).

    Args:
        one: Which.
        root: Where its files are.
        lists: A further folder with lists.
        draw: The few-shot set.
    """

    def __init__(self, one: MedfmcSet, *, root: Path, lists: Path | None = None, draw: Draw | None = None) -> None:
        self.one, self.root, self.lists = one, Path(root), lists
        self.draw = draw or Draw()
        self._cases: dict[str, list[MedfmcCase]] = {}

    @cached_property
    def layout(self) -> Layout:
        """Where things are. Raises `InputError` that says where to get them."""
        return find_layout(self.root, self.one, lists=self.lists)

    @cached_property
    def entries(self) -> Mapping[str, Sequence[Entry]]:
        """The entries of each split, duplicates of few-shot lists included.

        Raises:
            InputError: A list is absent or cannot be understood.
        """
        found = {split: entries for split, names in WHOLE.items() if (entries := self._read(names)) is not None}
        return {**found, **self._few_shots()} if self.draw.shots else found

    def splits(self) -> Sequence[str]:
        """Of `train`, `val`, `test` and `unlabelled` those that there are lists for."""
        return [split for split in WHOLE if split in self.entries]

    def prepare(self) -> None:
        """Nothing is made. Warns where a few-shot list for validation holds training images, as most published do.

        Raises:
            InputError: Images or lists are not there; says where to get them.
        """
        both = overlap(self.entries.get("train", ()), self.entries.get("val", ()))
        if both:
            count = len({entry.name for entry in self.entries["train"]})
            warnings.warn(
                f"{len(both)} of the {count} training images of {self._name} are in its validation list too, as "
                "published: what is selected by it is biased. disjoint=yes leaves them out there.",
                OmlabWarning,
                stacklevel=2,
            )

    def episode(self, shots: int, seed: int) -> Medfmc | None:
        """The published lists of exp `seed + 1` (`omlab.abilities.HasEpisodes`), else a draw by MedFMC's rule.

        None where the settings name a few-shot set. Warns where published lists are not there.
        """
        if self.draw.shots:
            return None
        draw = replace(self.draw, shots=shots, exp=seed + 1)
        names = [few_shot_list(self.one, shots=shots, exp=draw.exp, split=split) for split in ("train", "val")]
        missing = [name for name in names if name not in self.layout.lists]
        if missing and not draw.own and self.one.published:
            warnings.warn(
                f"There is no list {missing[0]}.txt of {self._name} (published are 1, 5 and 10 shots of exp 1 to 5): "
                "this episode is drawn by MedFMC's rule.",
                OmlabWarning,
                stacklevel=2,
            )
        own = draw.own or bool(missing)
        return Medfmc(self.one, root=self.root, lists=self.lists, draw=replace(draw, own=own))

    def about(self, split: str) -> About:
        """Kinds, classes and numbers, from the lists alone."""
        cases = self.cases(split)
        return About(
            inputs={"image": "image"},
            target="classes",
            task="classification",
            classes=dict(enumerate(self.one.classes)),
            groups=len({case.group for case in cases}),
            cases=len(cases),
        )

    def digest(self, split: str) -> str:
        """Of the entries and the sizes of their files. Raises `InputError` where files are missing."""
        cases = self.cases(split)
        paths = [path for case in cases for path in case.files["image"]]
        sizes = [size_of(path) for path in paths]
        missing = [path for path, size in zip(paths, sizes, strict=True) if size is None]
        if missing:
            raise InputError(f"MedFMC's {self.one.folders[1]}: {missing_files(missing)}")
        labels = [entry.labels for entry in self.entries[split]]
        return digest_of([[case.id for case in cases], labels, sizes])

    def cases(self, split: str) -> Sequence[Case]:
        """In the order of the list; of an image that is listed again the id has `~2` behind it."""
        check_split(split, self.entries, of=self._name)
        if split not in self._cases:
            self._cases[split] = list(self._made(self.entries[split]))
        return self._cases[split]

    def verify(self) -> Sequence[str]:
        """What is wrong with lists and images, all read through."""
        places: dict[Path, list[str]] = {}
        parts: dict[str, list[Case]] = {split: [] for split in self.splits()}
        for split, part in parts.items():
            for case in self.cases(split):
                known = places.setdefault(case.files["image"][0], [])
                if not known:
                    part.append(case)
                known.append(split)
        found = look_through(parts, classes=dict(enumerate(self.one.classes)))
        return [*self._wrong_lists(), *_in_two_splits(places, few=bool(self.draw.shots)), *found.problems]

    @property
    def _name(self) -> str:
        few = f", {self.draw.shots} shots, exp {self.draw.exp}" if self.draw.shots else ""
        return f"MedFMC's {self.one.folders[1]}{few}"

    def _read(self, names: Sequence[str]) -> list[Entry] | None:
        for pattern in names:
            for name in dict.fromkeys(pattern.format(folder) for folder in self.one.folders):
                if name in self.layout.lists:
                    return read_list(self.layout.lists[name], self.one)
        return None

    def _few_shots(self) -> Mapping[str, Sequence[Entry]]:
        train, val = self._drawn() if self.draw.own else self._published()
        if self.draw.disjoint:
            taken = {entry.name for entry in train}
            val = [entry for entry in val if entry.name not in taken]
        return {"train": train, "val": val}

    def _published(self) -> tuple[Sequence[Entry], Sequence[Entry]]:
        parts = []
        for split in ("train", "val"):
            name = few_shot_list(self.one, shots=self.draw.shots, exp=self.draw.exp, split=split)
            if name not in self.layout.lists:
                reason = f"get it from {UPSTREAM}" if self.one.published else "none was published for this set"
                raise InputError(
                    f"There is no list {name}.txt of MedFMC's {self.one.folders[1]} ({reason}; published are 1, 5 and "
                    "10 shots of exp 1 to 5): drawn=yes draws one by MedFMC's rule, with exp as the seed."
                )
            parts.append(read_list(self.layout.lists[name], self.one))
        return parts[0], parts[1]

    def _drawn(self) -> tuple[Sequence[Entry], Sequence[Entry]]:
        pool = self._read(POOLS)
        if pool is None:
            raise InputError(f"{self._name} has no list to draw from: trainval.txt or fewshot-pool.txt.")
        random = Random(self.draw.exp)  # noqa: S311  # as upstream draws; nothing is kept secret
        support = support_set(pool, self.one, shots=self.draw.shots, random=random)
        return [entry for part in support for entry in part], validation_set(pool, support, random=random)

    def _made(self, entries: Sequence[Entry]) -> list[MedfmcCase]:
        seen: Counter[str] = Counter()
        cases = []
        for entry in entries:
            path = self.layout.image(entry.name)
            seen[path.name] += 1
            again = f"~{seen[path.name]}" if seen[path.name] > 1 else ""
            cases.append(
                MedfmcCase(
                    id=f"{path.stem}{again}",
                    sources={"image": Source(kind="image", paths=(path,))},
                    target=None if entry.labels is None else Source(kind="classes", value=self._value(entry)),
                    group=self.one.patient(path.name),
                    label=None if self.one.multi_label or not entry.classes else self.one.classes[entry.classes[0]],
                )
            )
        return cases

    def _value(self, entry: Entry) -> dict[str, Any]:
        value: dict[str, Any] = {
            "probabilities": {
                name: float(label) for name, label in zip(self.one.classes, entry.labels or (), strict=True)
            }
        }
        return value | ({"threshold": THRESHOLD} if self.one.multi_label else {})

    def _wrong_lists(self) -> list[str]:
        """Lists of another length than published, entries that are there twice, and the old test list of ColonPath."""
        problems = []
        for name, path in self.layout.lists.items():
            if name not in self.one.counts:
                continue
            entries = read_list(path, self.one)
            twice = [entry for entry, count in Counter(entry.name for entry in entries).items() if count > 1]
            if twice:
                problems.append(f"{path} names {len(twice)} images several times: {', '.join(twice[:3])}.")
            labelled = [entry for entry in entries if entry.labels is not None]
            if self.one.name == "colon" and labelled and not any(1 in entry.classes for entry in labelled):
                problems.append(
                    f"{path} has no positive image: it is the list from before June 2023; get the later one."
                )
        return problems


def _in_two_splits(places: Mapping[Path, Sequence[str]], *, few: bool) -> list[str]:
    """A sentence about each image of two splits; those of few-shot lists are told of by `prepare`."""
    apart = [("train", "val")] if few else []
    found = [(path, list(dict.fromkeys(splits))) for path, splits in places.items()]
    return [
        f"{path.name} is in {' and '.join(splits)}."
        for path, splits in found
        if len(splits) > 1 and tuple(splits) not in apart
    ]

"""The data set `slides`: a table of slides, their bags (or the slides themselves) found by their ids in a folder.

omlab adapt abmil --data slides:dataset.csv -s data.bags=features/ -s data.folds=10 -s data.fold=0 ...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omlab import About
from omlab.card_schema import DatasetCard
from omlab.cases import PathCase, Source
from omlab.datasets import check_split
from omlab.digests import digest_of
from omlab.errors import InputError, OmlabError
from omlab.formats import format_cards, suffix_of
from omlab.roles import Case
from omlab_slide.data.folds import SIDES, folds_of, sides_of
from omlab_slide.data.table import SlideRow, read_sides, read_slides, slide_name, torn

INPUT = "bag"
_FEW = 5


def open_slides(card: DatasetCard, *, root: Path, settings: Mapping[str, Any]) -> SlidesDataset:
    """Entry of the card; `root` is the table."""
    return SlidesDataset(root, **settings)


@dataclass(frozen=True, kw_only=True)
class SlideCase(PathCase):
    """A slide, or the slides of a patient; `label` is its class."""

    label: str | None = None


class SlidesDataset:
    """A table of slides (`omlab.roles.Dataset`).

    Args:
        path: The table (`omlab_slide.data.table`).
        bags: The folder of bags, or of slides; "": that of the table. Relative to the table.
        splits: One of CLAM's files of splits; "": none. Relative to the table.
        by: "slide" or "patient": what a case is.
        folds: So many folds of patients, where nothing else says the sides; 0: none.
        fold: Which of them is `test`.
        seed: Of the folds.
    """

    def __init__(
        self,
        path: Path,
        *,
        bags: str = "",
        splits: str = "",
        by: str = "slide",
        folds: int = 0,
        fold: int = 0,
        seed: int = 0,
    ) -> None:
        self.path = Path(path)
        self._bags, self._splits, self._by = bags, splits, by
        self._folds, self._fold, self._seed = folds, fold, seed

    @cached_property
    def rows(self) -> list[SlideRow]:
        """The slides. Raises `InputError`."""
        return read_slides(self.path)

    @cached_property
    def sides(self) -> dict[str, str]:
        """The side of each slide: of the file of splits, of folds, of the table, else all are `train`."""
        if self._splits:
            return read_sides(self._beside(self._splits))
        if self._folds:
            labels: dict[str, set[str]] = {}
            for row in self.rows:
                labels.setdefault(row.patient, set()).add(row.label or f"event {row.event}")
            told = {patient: " and ".join(sorted(found)) for patient, found in labels.items()}
            fold_of = folds_of(told, folds=self._folds, seed=self._seed)
            of_patients = sides_of(fold_of, fold=self._fold, folds=self._folds)
            return {row.slide: of_patients[row.patient] for row in self.rows}
        return {row.slide: row.split or "train" for row in self.rows}

    def splits(self) -> Sequence[str]:
        """`train`, `val` and `test` as far as they are not empty, then others as they come."""
        named = [self.sides[row.slide] for row in self.rows if row.slide in self.sides]
        return [*(side for side in SIDES if side in named), *dict.fromkeys(s for s in named if s not in SIDES)]

    def prepare(self) -> None:
        """Nothing is made. Raises `InputError` where a patient lies on several sides, or bags are not there."""
        known = {row.slide for row in self.rows}
        if stray := [slide for slide in self.sides if slide not in known]:
            raise InputError(f"{self._splits} has slides that {self.path} has not: {_some(stray)}.")
        if found := torn(self.rows, self.sides):
            raise InputError(f"{self.path}: {len(found)} patients lie in several splits: {_some(found)}.")
        missing = [row.slide for row in self.rows if row.slide in self.sides and row.slide not in self._paths]
        if missing:
            raise InputError(
                f"{self.path}: of {len(missing)} slides there is neither a bag nor a slide in {self._folder}: "
                f"{_some(missing)}. Name the folder with -s data.bags=FOLDER."
            )

    def about(self, split: str) -> About:
        """Classes, or time and event, and numbers, from the table alone."""
        rows = self._part(split)
        kind = self._target
        return About(
            inputs={INPUT: "bag"},
            target=kind,
            task={"classes": "classification", "scores": "survival"}.get(kind, ""),
            classes=dict(enumerate(self._classes)) if kind == "classes" else {},
            groups=len({row.patient for row in rows}),
            cases=len(rows if self._by == "slide" else {row.patient for row in rows}),
        )

    def digest(self, split: str) -> str:
        """Of the split's rows and the names of their bags."""
        rows = [[row.slide, row.patient, row.label, row.time, row.event] for row in self._part(split)]
        names = [self._paths[row.slide].name for row in self._part(split) if row.slide in self._paths]
        return digest_of([rows, names, self._by])

    def cases(self, split: str) -> Sequence[Case]:
        """The slides, or patients, in the order of the table."""
        rows = self._part(split)
        self.prepare()
        if self._by == "slide":
            return [self._case(row.slide, [row]) for row in rows]
        patients: dict[str, list[SlideRow]] = {}
        for row in rows:
            patients.setdefault(row.patient, []).append(row)
        return [self._case(name, own) for name, own in patients.items()]

    def verify(self) -> Sequence[str]:
        """What is wrong: bags that are not there or cannot be read, patients in several splits."""
        try:
            self.prepare()
        except OmlabError as error:
            return [str(error)]
        problems = []
        for split in self.splits():
            for case in self.cases(split):
                try:
                    case.load()
                except OmlabError as error:
                    problems.append(str(error))
        return problems

    def _case(self, id: str, rows: Sequence[SlideRow]) -> SlideCase:
        for what in ("label", "time", "event"):
            told = {getattr(row, what) for row in rows}
            if len(told) > 1:
                said = " and ".join(sorted(map(str, told)))
                raise InputError(f"{self.path}: the slides of the patient '{id}' have different {what}s: {said}.")
        first = rows[0]
        return SlideCase(
            id=id,
            sources={INPUT: Source(kind="bag", paths=tuple(self._paths[row.slide] for row in rows))},
            target=self._target_of(first),
            group=first.patient,
            meta=first.meta,
            label=first.label or None,
        )

    def _target_of(self, row: SlideRow) -> Source | None:
        if self._target == "classes" and row.label:
            shares = {name: float(name == row.label) for name in self._classes}
            return Source(kind="classes", value={"probabilities": shares})
        if self._target == "scores" and row.time is not None and row.event is not None:
            return Source(kind="scores", value={"values": {"time": row.time, "event": row.event}})
        return None

    @cached_property
    def _target(self) -> str:
        """The kind of targets: classes, else time and event, else none."""
        if any(row.label for row in self.rows):
            return "classes"
        return "scores" if any(row.time is not None and row.event is not None for row in self.rows) else ""

    @cached_property
    def _classes(self) -> list[str]:
        return sorted({row.label for row in self.rows if row.label})

    def _part(self, split: str) -> list[SlideRow]:
        check_split(split, self.splits(), of=str(self.path))
        return [row for row in self.rows if self.sides.get(row.slide) == split]

    @property
    def _folder(self) -> Path:
        return self._beside(self._bags)

    def _beside(self, name: str) -> Path:
        return self.path.parent / name

    @cached_property
    def _paths(self) -> dict[str, Path]:
        """Where the bag of each slide lies, in the folder or a folder in it; where there is none, the slide itself."""
        if not self._folder.is_dir():
            raise InputError(f"{self._folder} is no folder of bags or slides.")
        cards = [card for card in format_cards() if "bag" in card.reads]
        bags = [card for card in cards if card.writes or not card.lazy]
        ranks = {suffix: rank for rank, of in enumerate((cards, bags)) for card in of for suffix in card.suffixes}
        found: dict[str, tuple[int, Path]] = {}
        wanted = {row.slide for row in self.rows}
        for path in [*sorted(self._folder.iterdir()), *sorted(self._folder.glob("*/*"))]:
            suffix = suffix_of(path, cards)
            slide = slide_name(path.name) if suffix else ""
            if slide in wanted and ranks[suffix] > found.get(slide, (-1, path))[0]:
                found[slide] = (ranks[suffix], path)
        return {slide: path for slide, (_, path) in found.items()}


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more

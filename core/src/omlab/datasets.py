"""From a data set's name to a data set: `NAME`, or `NAME:PATH` for one that reads a user's own files."""

from __future__ import annotations

import csv
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from omlab.arguments import name_of, path_of, table_of
from omlab.card_schema import DatasetCard, validate
from omlab.cards import Card
from omlab.errors import UnknownNameError, UsageError
from omlab.registry import load_entry, registry
from omlab.roles import Dataset
from omlab.settings import complete, decisive
from omlab.suggest import did_you_mean


@dataclass(frozen=True, kw_only=True)
class DataRef:
    """A data set with its card and complete settings."""

    name: str
    card: DatasetCard
    dataset: Dataset
    settings: Mapping[str, Any]
    root: Path

    def check_split(self, split: str) -> None:
        """Raise `UsageError` ('did you mean') for a split that the data set does not have."""
        check_split(name_of(split, "The split"), self.dataset.splits(), of=f"'{self.name}'")

    def splits_for(self, split: str | None) -> list[str]:
        """The split asked for; where none is, all of a user's own files, or `test`. Raises `UsageError`."""
        chosen = [split] if split is not None else list(self.dataset.splits()) if self.card.own else ["test"]
        for name in chosen:
            self.check_split(name)
        return chosen

    def identity(self, split: str) -> dict[str, Any]:
        """What a run log says of the data."""
        return {
            "name": self.card.name,
            "settings": decisive(self.card.settings, self.settings),
            "split": split,
            "digest": self.dataset.digest(split),
        }


def check_split(split: str, splits: Collection[str], *, of: str) -> None:
    """Raise `UsageError` ('did you mean') for a split that is none of `splits`; `of` is what messages call the data."""
    if split not in splits:
        raise UsageError(f"{of} has no split '{split}': {did_you_mean(split, splits, none='it has none.')}")


def load_dataset(name: str, *, root: str | Path | None = None, settings: Mapping[str, Any] | None = None) -> Dataset:
    """A data set by name, or `name:path` for a user's own files.

    Its files are under `root` (default: `OMLAB_DATA`/name, or ./omlab-data/name).

    Raises `UnknownNameError` or `SettingsError`; whether the files are there is seen by `prepare`.
    """
    return open_dataset(name, root=root, settings=settings or {}).dataset


def open_dataset(name: str, *, root: str | Path | None, settings: Mapping[str, Any]) -> DataRef:
    """A data set with its card and complete settings. Raises `UnknownNameError`, `UsageError` or `SettingsError`."""
    name = name_of(name, "The data set")
    root = path_of(root, "The root") if root is not None else None
    called, colon, path = name.partition(":")
    try:
        offer = registry().get("dataset", called)
    except UnknownNameError as error:
        if not colon and Path(name).exists():
            own = ", ".join(card.name for card in registry().cards("dataset") if card.data.get("own"))
            raise UsageError(
                f"'{name}' is a path: say how it is laid out, such as --data cases:{name} (there are {own})."
            ) from None
        raise error
    card = cast(DatasetCard, validate(offer))
    if colon and root is not None:
        raise UsageError(f"'{name}' says where the files are already: leave --root out.")
    if card.own and not colon and root is None:
        raise UsageError(f"'{called}' reads your own files: say where they are, {called}:PATH.")
    folder = (
        Path(path) if colon else root if root is not None else Path(os.environ.get("OMLAB_DATA", "omlab-data")) / called
    )
    if card.own and not folder.exists():
        raise UsageError(f"{folder} does not exist, which --data {name} names.")
    if other := _told_by_columns(folder, card):
        offer, card = other, cast(DatasetCard, validate(other))
    chosen = complete(card.settings, table_of(settings, "The settings"), of=f"the data set '{card.name}'")
    data = load_entry(offer, card.entry)(card, root=folder, settings=chosen)
    return DataRef(name=name, card=card, dataset=cast(Dataset, data), settings=chosen, root=folder)


def _told_by_columns(table: Path, card: DatasetCard) -> Card | None:
    """The data set whose column of ids a CSV file has, where it has none of those that `card` says its tables have."""
    if not card.columns or not table.name.lower().endswith(".csv"):
        return None
    header = _header(table)
    if not header.isdisjoint(card.columns):
        return None
    others = registry().cards("dataset")
    return next((other for other in others if not header.isdisjoint(other.data.get("columns", []))), None)


def _header(table: Path) -> set[str]:
    """The names of the columns of a CSV file; none where it cannot be read, which its data set tells."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            return {name.strip() for name in next(csv.reader(stream), [])}
    except (OSError, UnicodeDecodeError, csv.Error):
        return set()

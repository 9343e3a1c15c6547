"""From a data set's name to a data set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from omlab.card_schema import DatasetCard, validate
from omlab.errors import UsageError
from omlab.registry import load_entry, registry
from omlab.roles import Dataset
from omlab.settings import complete


def load_dataset(name: str, *, root: str | Path | None = None, settings: Mapping[str, Any] | None = None) -> Dataset:
    """A data set by name; its files are under `root` (default: `OMLAB_DATA`/name, or ./omlab-data/name).

    Raises `UnknownNameError` or `SettingsError`; whether the files are there is seen by `prepare`.
    """
    return open_dataset(name, root=root, settings=settings or {})[1]


def open_dataset(
    name: str, *, root: str | Path | None, settings: Mapping[str, Any]
) -> tuple[DatasetCard, Dataset, dict[str, Any]]:
    """A data set with its card and complete settings."""
    offer = registry().get("dataset", name)
    card = cast(DatasetCard, validate(offer))
    chosen = complete(card, settings)
    folder = Path(root) if root is not None else Path(os.environ.get("OMLAB_DATA", "omlab-data")) / name
    data = load_entry(offer, card.entry)(card, root=folder, settings=chosen)
    return card, cast(Dataset, data), chosen


def check_split(card: DatasetCard, data: Dataset, split: str) -> None:
    """Raise `UsageError` for a split that the data set does not have."""
    if split not in data.splits():
        raise UsageError(f"'{card.name}' has no split '{split}'; it has {', '.join(data.splits())}.")

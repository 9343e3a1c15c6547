"""Folds of patients: no patient on two sides, every class in every fold as evenly as it goes, the same each time."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from omlab.errors import SettingsError

SIDES = ("train", "val", "test")


def folds_of(labels: Mapping[str, str], *, folds: int, seed: int) -> dict[str, int]:
    """The fold of each patient.

    The patients of a class are ranked by a digest of seed and name and dealt out in turn; the next class goes on where
    the last one ended, so that folds are of one size too. A patient more or less moves others only within its class.

    Args:
        labels: The class of each patient; whatever is to be spread evenly.
        folds: How many.
        seed: Of the ranks.

    Raises:
        SettingsError: There are fewer patients than folds.
    """
    if folds < 2 or folds > len(labels):
        raise SettingsError(f"folds is {folds}, but must be from 2 to the {len(labels)} patients that there are.")
    ranked = sorted(labels, key=lambda name: (labels[name], sha256(f"{seed}/{name}".encode()).digest()))
    return {name: place % folds for place, name in enumerate(ranked)}


def sides_of(fold_of: Mapping[str, int], *, fold: int, folds: int) -> dict[str, str]:
    """The side of each patient: `test` is the fold `fold`, `val` the one after it, `train` all others.

    With two folds there is no `val`. Raises `SettingsError` where there is no such fold.
    """
    if not 0 <= fold < folds:
        raise SettingsError(f"fold is {fold}, but of {folds} folds the last is {folds - 1}.")
    val = (fold + 1) % folds if folds > 2 else None
    return {name: "test" if at == fold else "val" if at == val else "train" for name, at in fold_of.items()}

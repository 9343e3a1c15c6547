"""Deterministic splits: whole groups (patients) on one side, whatever the order of the cases.

Groups are ranked by a digest of seed and name. The first go to `test`, the next to `val`, or, with folds, those behind
`test` are dealt out in turn. As the shares are of the groups there are, further groups can move others: keep the split
that a model was trained with in the table.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b

from omlab.errors import SettingsError

SPLITS = ("train", "val", "test")
TRAIN, VAL, TEST = range(len(SPLITS))


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How to split. With `folds`, `val` is the fold `fold` of what is not in `test`, else a share of all groups.

    Raises `SettingsError` for shares that leave nothing to train on, or a fold that is none.
    """

    test: float = 0.2
    val: float = 0.1
    folds: int = 0
    fold: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.test < 0 or self.val < 0 or self.test + (0 if self.folds else self.val) >= 1:
            raise SettingsError(f"test is {self.test:g} and val {self.val:g}: nothing would be left to train on.")
        if self.folds == 1 or self.folds < 0:
            raise SettingsError(f"folds is {self.folds}, but must be 0 (none) or at least 2.")
        if self.folds and not 0 <= self.fold < self.folds:
            raise SettingsError(f"fold is {self.fold}, but of {self.folds} folds the last is {self.folds - 1}.")


def split_by_group(groups: Iterable[str], shares: Shares) -> list[str]:
    """The split of each case, `train`, `val` or `test`, by the name of its group.

    Raises `SettingsError` where there are more folds than groups.
    """
    keys = array("Q", (group_key(group, seed=shares.seed) for group in groups))
    side = sides(keys, shares)
    return [SPLITS[side(key)] for key in keys]


def group_pattern(text: str) -> re.Pattern[str] | None:
    """The setting `group`, by which names tell their groups; None where it is empty. Raises `SettingsError`."""
    try:
        return re.compile(text) if text else None
    except re.error as error:
        raise SettingsError(f"group is '{text}', which is no regular expression: {error}.") from None


def torn_groups(places: Iterable[tuple[str, str | None]]) -> list[str]:
    """Groups that lie in several splits, with these, of (split, group) of each case; None: it has no group."""
    where: dict[str, set[str]] = {}
    for split, group in places:
        if group is not None:
            where.setdefault(group, set()).add(split)
    return [f"'{group}' ({', '.join(sorted(splits))})" for group, splits in where.items() if len(splits) > 1]


def group_key(group: str, *, seed: int) -> int:
    """The number that a group is ranked by."""
    return int.from_bytes(blake2b(f"{seed}/{group}".encode(), digest_size=8).digest(), "big")


def sides(keys: Iterable[int], shares: Shares) -> Callable[[int], int]:
    """What tells the side (index in `SPLITS`) of a group by its key, given the keys of all cases."""
    ranked = array("Q", sorted(set(keys)))
    count = len(ranked)
    tests = _share(shares.test, count)
    rest = count - tests
    vals = 0 if shares.folds else min(_share(shares.val, count), max(rest - 1, 0))
    if count and shares.folds > rest:
        raise SettingsError(f"folds is {shares.folds}, but there are only {rest} groups (patients) to deal out.")

    def side(key: int) -> int:
        rank = bisect_left(ranked, key)
        if rank < tests:
            return TEST
        if shares.folds:
            return VAL if (rank - tests) % shares.folds == shares.fold else TRAIN
        return VAL if rank < tests + vals else TRAIN

    return side


def _share(share: float, count: int) -> int:
    """Groups of a share: at least one where any is wanted, and never all."""
    return min(max(1, round(share * count)), count - 1) if share > 0 and count > 1 else 0

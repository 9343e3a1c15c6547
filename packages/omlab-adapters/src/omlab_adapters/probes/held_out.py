"""Which training cases are learned from and which are kept to judge what was learned: folds by group and class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omlab.errors import TrainingError

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Rows to learn from, and rows to judge by."""

    learned: Rows
    judged: Rows


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What each row of an episode is for.

    Attributes:
        final: What the model that is kept learns from.
        trials: By these its settings are chosen.
        calibration: What nothing is learned from or chosen by: the sizes of prediction sets. None: not wanted.
    """

    final: Rows
    trials: Sequence[Trial]
    calibration: Rows | None


def folds_of(targets: NDArray[np.float64], groups: Sequence[str], *, folds: int, seed: int) -> Rows:
    """The fold of each case, (N,): a group lies in one, and the groups of each class are spread over all of them.

    Args:
        targets: 1 where a case is of a class, (N, K); numbers of a regression have no classes, (N, 0).
        groups: Whose each case is.
        folds: How many; fewer where there are fewer groups.
        seed: Of the order within a class.
    """
    members: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    frequency = np.nansum(targets, axis=0)
    names = sorted(members)
    order = np.random.default_rng(seed).permutation(len(names))
    rarest = [_rarest(targets[members[names[place]]], frequency) for place in order]
    dealt = sorted(range(len(names)), key=lambda n: (rarest[n], n))
    fold = np.zeros(len(groups), dtype=np.int64)
    for turn, n in enumerate(dealt):
        fold[members[names[order[n]]]] = turn % min(folds, len(names))
    return fold


def plan_folds(
    targets: NDArray[np.float64], groups: Sequence[str], *, folds: int, seed: int, is_calibrated: bool
) -> Plan:
    """Settings are chosen by cross-validation; the first fold is kept from it where prediction sets are wanted."""
    fold = folds_of(targets, groups, folds=folds, seed=seed)
    final = np.flatnonzero(fold > 0) if is_calibrated else np.arange(len(fold))
    if not len(final):
        raise TrainingError(
            "All training cases are of one group (patient): none can be kept to measure prediction sets by. Leave "
            "coverage out, or give more patients."
        )
    parts = [number for number in range(int(fold.max()) + 1) if number > 0 or not is_calibrated]
    trials = [
        Trial(learned=final[fold[final] != part], judged=final[fold[final] == part]) for part in parts if len(parts) > 1
    ]
    return Plan(final=final, trials=trials, calibration=np.flatnonzero(fold == 0) if is_calibrated else None)


def plan_validation(train: int, groups: Sequence[str], *, seed: int, is_calibrated: bool) -> Plan:
    """Settings are chosen by a validation split, whose rows come after the `train` ones.

    Where prediction sets are wanted, half of its groups are kept for these. Cases of a group that is learned from are
    left out. Raises `TrainingError` where none is left.
    """
    learned, known = np.arange(train), set(groups[:train])
    free = [row for row in range(train, len(groups)) if groups[row] not in known]
    names = sorted({groups[row] for row in free})
    if len(names) < (2 if is_calibrated else 1):
        raise TrainingError(
            f"The split 'val' has cases of {len(names)} groups (patients) that are not trained on: too few to choose "
            "settings by. Choose them by folds of the training split: select=folds."
        )
    np.random.default_rng(seed).shuffle(names)
    kept = set(names[: len(names) // 2]) if is_calibrated else set()
    judged = np.array([row for row in free if groups[row] not in kept], dtype=np.int64)
    calibration = np.array([row for row in free if groups[row] in kept], dtype=np.int64)
    return Plan(
        final=learned,
        trials=[Trial(learned=learned, judged=judged)],
        calibration=calibration if is_calibrated else None,
    )


def _rarest(targets: NDArray[np.float64], frequency: NDArray[np.float64]) -> tuple[float, int]:
    """The rarest class of a group's cases, with how often it is there in all; last come groups without any."""
    present = np.flatnonzero(np.nansum(targets, axis=0) > 0)
    return min(((float(frequency[k]), int(k)) for k in present), default=(np.inf, -1))

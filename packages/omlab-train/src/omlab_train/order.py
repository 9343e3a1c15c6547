"""Which case comes at which place of a training: a function of seed and place alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from omlab_train.settings import mixed_seed


@dataclass(frozen=True, eq=False, kw_only=True)
class Order:
    """Every case once an epoch, each time in another order; or drawn by weights.

    Attributes:
        count: How many cases there are.
        seed: What all is drawn from.
        weights: How probable each case is, with the sum 1; None: every case once an epoch.
    """

    count: int
    seed: int
    weights: NDArray[np.float64] | None = None

    def __call__(self, place: int) -> tuple[int, int]:
        """The index of the case at a place (0, 1, ...), and a seed for what is drawn there."""
        seed = mixed_seed(self.seed, place)
        if self.weights is None:
            return int(_permutation(self.count, self.seed, place // self.count)[place % self.count]), seed
        share = np.random.default_rng(seed % 2**64).random()
        index = int(np.searchsorted(np.cumsum(self.weights), share, side="right"))
        return min(index, self.count - 1), seed


def balanced(labels: Sequence[frozenset[str]]) -> NDArray[np.float64]:
    """Weights by which every class is drawn equally often.

    A case of several classes has the mean of what each of them would give it, one without any the weight of a class.
    """
    counts = Counter(name for names in labels for name in (names or {""}))
    weights = np.array([np.mean([1 / counts[name] for name in names or {""}]) for names in labels], np.float64)
    return np.asarray(weights / weights.sum(), np.float64)


@lru_cache(maxsize=4)
def _permutation(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng(mixed_seed(seed, epoch, count) % 2**64).permutation(count)

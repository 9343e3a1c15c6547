"""How sure a probe may be: temperature scaling and split-conformal sets, on cases that it did not learn from.

Sources: Guo et al., On Calibration of Modern Neural Networks, ICML 2017 (temperature); Vovk, Gammerman and Shafer,
Algorithmic Learning in a Random World, 2005, and Sadinle, Lei and Wasserman, JASA 114, 2019 (sets of the classes whose
probability reaches a level).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

COLDEST, HOTTEST = 0.05, 20.0
"""Beyond these a temperature says that logits are of no use, not how to use them."""

BISECTIONS = 60


def best_temperature(slope: Callable[[float], float]) -> float:
    """The temperature T at which the mean log loss of logits / T is least.

    The loss is convex in 1 / T, so that the root of its slope is found by bisection.

    Args:
        slope: The derivative of the loss by 1 / T, at 1 / T.
    """
    low, high = math.log(1 / HOTTEST), math.log(1 / COLDEST)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(math.exp(middle)) > 0 else (middle, high)
    return math.exp(-(low + high) / 2)


def level_of_sets(probabilities: Floats, targets: Floats, *, coverage: float) -> float | None:
    """From which probability on a class is in the set, so that sets of new cases hold all that is right of them.

    They do so for at least a share `coverage` of cases that are drawn like those given. The score of a case is the
    least probability among the classes that are right; with n cases the level is the k-th largest score,
    k = ceil((n + 1) * coverage).

    Args:
        probabilities: Of cases that nothing was learned from, (N, K).
        targets: 1 where a class is right, (N, K); of a case without any every set is right.
        coverage: Between 0 and 1.

    Returns:
        The level; None where there are too few cases for it, so that only the set of all classes holds its promise.
    """
    scores = np.where(targets == 1, probabilities, np.inf).min(axis=1, initial=np.inf)
    rank = math.ceil((len(scores) + 1) * coverage - 1e-9)  # 0.9 * 10 is a little more than 9 in binary numbers
    if rank > len(scores):
        return None
    return float(min(np.sort(scores)[::-1][rank - 1], 1.0))

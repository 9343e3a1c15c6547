"""Ratings from battles: online Elo, its bootstrap (vectorised over rounds), Bradley-Terry, win shares.

Elo after A. E. Elo, The Rating of Chessplayers (1978); the bootstrap of online ratings and the win shares
follow the rule of the Chatbot Arena (Zheng et al., arXiv:2306.05685). Bradley-Terry after R. A. Bradley and
M. E. Terry, Biometrika 39 (1952), a tie counted as half a win of each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omlab import progress
from omlab.errors import SettingsError
from omlab_pulse_eval.battles import Battles
from omlab_pulse_eval.philox import keyed_uniform

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

EXPONENT_LIMIT = 700.0
"""Beyond it `exp` overflows a double; the expectation is 0 or 1 long before."""

BLOCK = 1 << 20
"""Draws made at a time: the memory of a bootstrap does not grow with the number of battles."""


@dataclass(frozen=True, kw_only=True)
class Elo:
    """The rule: after a battle a rating moves by `k` times what was won beyond expectation.

    The expectation of A against B is 1 / (1 + base^((R_B - R_A) / scale)).
    """

    k: float = 4.0
    scale: float = 400.0
    base: float = 10.0
    initial: float = 1000.0

    def __post_init__(self) -> None:
        if not (self.k > 0 and self.scale > 0 and self.base > 1 and math.isfinite(self.initial)):
            raise SettingsError(
                f"k = {self.k:g} and scale = {self.scale:g} must be positive and base = {self.base:g} above 1."
            )

    @property
    def slope(self) -> float:
        """Log-odds for a point of difference."""
        return math.log(self.base) / self.scale


def elo_online(battles: Battles, *, elo: Elo | None = None) -> Floats:
    """Ratings (models,) after all battles in their order. Their sum stays what it was."""
    elo = elo or Elo()
    ratings = [elo.initial] * len(battles.models)
    slope, k = elo.slope, elo.k
    for a, b, score in zip(battles.first.tolist(), battles.second.tolist(), battles.scores.tolist(), strict=True):
        power = (ratings[b] - ratings[a]) * slope
        expected = 1.0 / (1.0 + math.exp(min(max(power, -EXPONENT_LIMIT), EXPONENT_LIMIT)))
        change = k * (score - expected)
        ratings[a] += change
        ratings[b] -= change
    return np.array(ratings)


def elo_rounds(battles: Battles, draws: Iterator[Indices], *, rounds: int, elo: Elo | None = None) -> Floats:
    """Ratings (rounds, models) of resampled battles.

    `draws` gives blocks (steps, rounds): which battle each round takes at each step.
    """
    elo = elo or Elo()
    models = len(battles.models)
    # In log-odds around the start, so that a step needs no scaling: ten array operations, no copy of the ratings.
    strength = np.zeros(models * rounds)
    lane = np.arange(rounds)
    first, second = battles.first * rounds, battles.second * rounds
    reward, stake = battles.scores * (elo.k * elo.slope), elo.k * elo.slope
    one, two, change = np.empty(rounds), np.empty(rounds), np.empty(rounds)
    with progress.bar("bootstrap", total=len(battles)) as advance, np.errstate(over="ignore"):
        for block in draws:
            for a, b, won in zip(first[block] + lane, second[block] + lane, reward[block], strict=True):
                strength.take(a, out=one, mode="clip")
                strength.take(b, out=two, mode="clip")
                np.subtract(two, one, out=change)
                np.exp(change, out=change)  # beyond the largest double it is infinite, and the expectation 0
                change += 1.0
                np.divide(stake, change, out=change)
                np.subtract(won, change, out=change)
                one += change
                two -= change
                strength[a] = one
                strength[b] = two
            advance(len(block))
    return elo.initial + (strength.reshape(models, rounds) / elo.slope).T


def seeded_draws(count: int, *, rounds: int, seed: int) -> Iterator[Indices]:
    """Each round draws `count` battles with replacement; the same seed draws the same."""
    generator = np.random.default_rng(seed)
    steps = max(1, BLOCK // rounds)
    for start in range(0, count, steps):
        yield generator.integers(0, count, size=(min(steps, count - start), rounds), dtype=np.int64)


def keyed_draws(count: int, *, rounds: int, salt: str, name: str) -> Iterator[Indices]:
    """Round r draws battle floor(u * count), u the uniform stream keyed by `salt` and `name`/r."""
    drawn = [np.floor(keyed_uniform(salt, f"{name}/{r}", count) * count).astype(np.int64) for r in range(rounds)]
    yield np.stack(drawn, axis=1)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """What the rounds say: median and the interval of 95 %, each (models,)."""

    median: Floats
    low: Floats
    high: Floats


def spread(rounds: Floats) -> Spread:
    """Median, 2.5th and 97.5th percentile over rounds (rounds, models)."""
    low, median, high = np.percentile(rounds, [2.5, 50.0, 97.5], axis=0)
    return Spread(median=median, low=low, high=high)


def wins(battles: Battles) -> Floats:
    """Wins (models, models) of row over column; a tie or an unparsed reply is half a win of each."""
    n = len(battles.models)
    forth = np.bincount(battles.first * n + battles.second, weights=battles.scores, minlength=n * n)
    back = np.bincount(battles.second * n + battles.first, weights=1.0 - battles.scores, minlength=n * n)
    return np.asarray((forth + back).reshape(n, n), dtype=np.float64)


def bradley_terry(battles: Battles, *, elo: Elo | None = None, tolerance: float = 1e-10) -> Floats | None:
    """Maximum-likelihood strengths (models,), in Elo points around `initial`; the order of battles is nothing to it.

    None where the likelihood has no maximum: some models never won a point against the others, or never lost one.
    Newton's method on the win matrix, so that the work does not grow with the number of battles.
    """
    elo = elo or Elo()
    won = wins(battles)
    n = len(won)
    if n < 2 or not _strongly_connected(won > 0):
        return None
    met = won + won.T
    strength = np.zeros(n)
    for _ in range(200):
        odds = np.clip(strength[:, None] - strength[None, :], -EXPONENT_LIMIT, EXPONENT_LIMIT)
        chance = 1.0 / (1.0 + np.exp(-odds))
        gradient = (won - met * chance).sum(axis=1)
        weight = met * chance * (1.0 - chance)
        # The constant vector is in the null space of the Hessian: adding it fixes the mean, moves nothing else.
        hessian = np.diag(weight.sum(axis=1)) - weight + 1.0 / n
        step = np.linalg.solve(hessian, gradient)
        strength += step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-300))
        strength -= strength.mean()
        if np.abs(step).max() < tolerance:
            break
    return np.asarray(elo.initial + strength / elo.slope, dtype=np.float64)


def _strongly_connected(beats: NDArray[np.bool_]) -> bool:
    """Whether every model can be reached from every other along wins (Ford's condition)."""
    reach = beats | np.eye(len(beats), dtype=bool)
    for _ in range(len(beats).bit_length()):
        reach = (reach.astype(np.float64) @ reach.astype(np.float64)) > 0
    return bool(reach.all())


def win_shares(battles: Battles) -> tuple[Floats, Floats]:
    """Share of decided battles that row won against column (models, models), NaN where none; its row means."""
    n = len(battles.models)
    decided = battles.outcome < 2
    winner = np.where(battles.outcome == 0, battles.first, battles.second)[decided]
    loser = np.where(battles.outcome == 0, battles.second, battles.first)[decided]
    won = np.bincount(winner * n + loser, minlength=n * n).reshape(n, n).astype(np.float64)
    met = won + won.T
    shares = np.divide(won, met, out=np.full((n, n), np.nan), where=met > 0)
    known = np.isfinite(shares)
    mean = np.divide(
        np.where(known, shares, 0.0).sum(axis=1), known.sum(axis=1), out=np.full(n, np.nan), where=known.any(axis=1)
    )
    return shares, mean

"""The figures of one tournament, as rows that go into the run log and `report.json`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab_pulse_eval.battles import Battles
from omlab_pulse_eval.ranking import shared_ranks
from omlab_pulse_eval.ratings import (
    Elo,
    bradley_terry,
    elo_online,
    elo_rounds,
    keyed_draws,
    seeded_draws,
    spread,
    win_shares,
)
from omlab_pulse_eval.sources import read_indices

Row = dict[str, Any]
Z95 = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """How battles are resampled: by explicit draws, by a keyed stream, or by a seed."""

    rounds: int = 1000
    seed: int = 0
    salt: str = ""
    indices: Path | None = None

    def draws(self, count: int, *, name: str) -> tuple[Iterator[NDArray[np.int64]], int]:
        """Blocks (steps, rounds) of draws from `count` battles of the set `name`, and the number of rounds."""
        if self.indices is not None:
            explicit = np.array(read_indices(self.indices, count=count), dtype=np.int64).T
            return iter([explicit]), explicit.shape[1]
        if self.salt:
            return keyed_draws(count, rounds=self.rounds, salt=self.salt, name=name), self.rounds
        return seeded_draws(count, rounds=self.rounds, seed=self.seed), self.rounds


def tournament_figures(battles: Battles, *, name: str, elo: Elo, bootstrap: Bootstrap) -> Row:
    """Ratings and ranks by model, outcomes, win shares (None: no decided battle) and the bias of seats."""
    online = elo_online(battles, elo=elo)
    strength = bradley_terry(battles, elo=elo)
    median = low = high = None
    if bootstrap.rounds or bootstrap.indices is not None:
        draws, rounds = bootstrap.draws(len(battles), name=name)
        found = spread(elo_rounds(battles, draws, rounds=rounds, elo=elo))
        median, low, high = found.median, found.low, found.high
    shares, mean_share = win_shares(battles)
    ranks = shared_ranks(online if median is None else median)
    fought = np.bincount(np.concatenate([battles.first, battles.second]), minlength=len(battles.models))
    models: dict[str, Row] = {
        model: {
            "online": float(online[n]),
            "median": None if median is None else float(median[n]),
            "low": None if low is None else float(low[n]),
            "high": None if high is None else float(high[n]),
            "bradley_terry": None if strength is None else float(strength[n]),
            "win_share": _number(mean_share[n]),
            "battles": int(fought[n]),
            "rank": float(ranks[n]),
        }
        for n, model in enumerate(battles.models)
    }
    return {
        "kind": "tournament",
        "battles": len(battles),
        "outcomes": battles.counts(),
        "models": dict(sorted(models.items(), key=lambda pair: pair[1]["rank"])),
        "win_shares": {
            a: {b: _number(shares[i, j]) for j, b in enumerate(battles.models) if j != i}
            for i, a in enumerate(battles.models)
        },
        "first_seat": share_of(int((battles.outcome == 0).sum()), int((battles.outcome < 2).sum())),
    }


def longer_wins(battles: Battles, lengths: Sequence[tuple[int, int]]) -> Row:
    """How often the longer answer (in characters) won, of decided battles with answers of different length."""
    size = np.array(lengths, dtype=np.int64).reshape(-1, 2)
    counted = (battles.outcome < 2) & (size[:, 0] != size[:, 1])
    won = counted & ((size[:, 0] > size[:, 1]) == (battles.outcome == 0))
    return share_of(int(won.sum()), int(counted.sum()))


def seatings_agree(battles: Battles) -> Row:
    """How often two seatings of one battle, one after the other, name the same winner (or a tie)."""
    forth, back = battles.outcome[0::2], battles.outcome[1::2]
    exchanged = np.array([1, 0, 2, 3], dtype=np.int8)[back]
    read = (forth < 3) & (back < 3)
    return share_of(int((read & (forth == exchanged)).sum()), int(read.sum()))


def share_of(hits: int, count: int) -> Row:
    """A share with its 95 % interval (Wilson 1927); None where there is nothing to count."""
    if not count:
        return {"share": None, "low": None, "high": None, "count": 0}
    share, weight = hits / count, Z95**2 / count
    centre = (share + weight / 2) / (1 + weight)
    half = math.sqrt(weight * share * (1 - share) + weight**2 / 4) / (1 + weight)
    low, high = max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))
    return {"share": share, "low": low, "high": high, "count": count}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None

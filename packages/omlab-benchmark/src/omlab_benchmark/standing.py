"""Who is ahead, and whether that is certain: means over seeds, intervals, paired differences, ranks with ties.

What varies are the patients that are measured and the cases that were drawn to learn from. So both are drawn again
and again, with replacement: whole patients (`group`), and seeds. One draw serves all entries, so that a difference is
taken on the same patients and the same episodes (a paired bootstrap, Efron and Tibshirani 1993, chapter 16).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.abilities import Resamples
from omlab.roles import Metric
from omlab_benchmark.entries import shots_name
from omlab_benchmark.results import read_rows

Floats = NDArray[np.float64]
Key = tuple[str, str, int]
"""Model, adapter, shots."""

PERCENTILES = (2.5, 97.5)
AT_ONCE = 4_000_000
"""Numbers of a block of rounds."""
SEED = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Scores:
    """Every figure of every entry in every round.

    Attributes:
        measures: The figures, without values.
        whole: By entry the figures of each seed over all cases, (seeds, measures).
        drawn: By entry the mean over the drawn seeds in each round, (rounds, measures).
        seeds: By entry its seeds.
        cases: By entry how many cases were measured (the least of its seeds).
    """

    measures: Sequence[Metric]
    whole: Mapping[Key, Floats]
    drawn: Mapping[Key, Floats]
    seeds: Mapping[Key, Sequence[int]]
    cases: Mapping[Key, int]

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]], folder: Path, *, judge: Resamples, rounds: int) -> Scores:
        """Read the results of all cells that have some, and draw."""
        cells: dict[Key, dict[int, str]] = {}
        for row in rows:
            if not row["reason"]:
                cells.setdefault((row["model"], row["adapter"], row["shots"]), {})[row["seed"]] = row["file"]
        seeds = sorted({seed for files in cells.values() for seed in files})
        chosen = _multinomial(len(seeds), rounds=rounds, stream=1)  # (rounds, seeds)
        groups: dict[str, int] = {}
        measures: Sequence[Metric] = ()
        whole, drawn, cases = {}, {}, {}
        draws: Floats | None = None
        loaded = {key: {seed: read_rows(folder / file) for seed, file in files.items()} for key, files in cells.items()}
        for of_seeds in loaded.values():  # patients are numbered before any is drawn
            for by_case in of_seeds.values():
                for id, mine in by_case.items():
                    groups.setdefault(_group(id, mine), len(groups))
        draws = _multinomial(len(groups), rounds=rounds, stream=0)
        for key, of_seeds in loaded.items():
            figures = []
            for by_case in of_seeds.values():
                resampled = judge.resampled(by_case)
                measures = resampled.measures
                index = np.array([groups[_group(id, mine)] for id, mine in by_case.items()])
                figures.append(_all_rounds(resampled.figures, draws, index))
            values = np.stack(figures)  # (seeds, 1 + rounds, measures)
            places = [seeds.index(seed) for seed in of_seeds]
            whole[key] = values[:, 0]
            drawn[key] = _over_seeds(values[:, 1:], chosen[:, places])
            cases[key] = min(len(by_case) for by_case in of_seeds.values())
        return cls(
            measures=measures,
            whole=whole,
            drawn=drawn,
            seeds={key: list(files) for key, files in cells.items()},
            cases=cases,
        )

    def measure(self, name: str) -> Metric:
        """The measure of that name."""
        return self.measures[self.place(name)]

    def place(self, name: str) -> int:
        """Its column."""
        return [measure.name for measure in self.measures].index(name)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What became of an entry at a number of shots.

    Attributes:
        model: As it was named.
        adapter: Its name.
        shots: Cases of each class; 0: all.
        rank: One more than there are entries that are certainly better; equal ranks are not told apart.
        is_best: Whether it is certainly better than every other entry.
        figures: By metric the mean over seeds with its 95 % interval.
        by_seed: The headline of each seed.
        cases: How many cases were measured.
    """

    model: str
    adapter: str
    shots: int
    rank: int
    is_best: bool
    figures: Mapping[str, Metric]
    by_seed: Mapping[int, float | None]
    cases: int

    @property
    def name(self) -> str:
        """The entry, as a reader knows it."""
        return f"{self.model} + {self.adapter}"

    def metric(self, measure: Metric) -> Metric:
        """A figure, labelled by entry and shots."""
        found = self.figures[measure.name]
        return Metric(
            name=found.name, label=f"{self.name}, {shots_name(self.shots)}", value=found.value, low=found.low,
            high=found.high, n=found.n, unit=found.unit, higher_is_better=found.higher_is_better,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """As `report.json` has it."""
        figures = {name: {"value": m.value, "low": m.low, "high": m.high} for name, m in self.figures.items()}
        return {
            "model": self.model, "adapter": self.adapter, "shots": self.shots, "rank": self.rank,
            "is_best": self.is_best, "figures": figures, "by_seed": {str(k): v for k, v in self.by_seed.items()},
            "cases": self.cases,
        }  # fmt: skip


def standings(scores: Scores, *, headline: str) -> list[Standing]:
    """The entries by shots, the best first; those with equal ranks by their means."""
    column = scores.place(headline)
    sign = 1.0 if scores.measure(headline).higher_is_better else -1.0
    found = []
    for shots in sorted({key[2] for key in scores.whole}, key=lambda number: (number == 0, number)):
        keys = [key for key in scores.whole if key[2] == shots]
        drawn = {key: sign * scores.drawn[key][:, column] for key in keys}
        better = {(a, b): _is_better(drawn[a], drawn[b]) for a in keys for b in keys if a != b}
        those = [
            Standing(
                model=key[0],
                adapter=key[1],
                shots=shots,
                rank=1 + sum(better[other, key] for other in keys if other != key),
                is_best=len(keys) > 1 and all(better[key, other] for other in keys if other != key),
                figures={m.name: _figure(scores, key, n) for n, m in enumerate(scores.measures)},
                by_seed={
                    seed: _or_none(value)
                    for seed, value in zip(scores.seeds[key], scores.whole[key][:, column], strict=True)
                },
                cases=scores.cases[key],
            )
            for key in keys
        ]
        found += sorted(those, key=lambda s: (s.rank, -sign * (s.figures[headline].value or 0.0), s.name))
    return found


def _group(id: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Whose a case is; one without a group is a group of its own."""
    group = next((row["group"] for row in rows if row.get("group")), None)
    return f"case {id}" if group is None else f"group {group}"


def _multinomial(number: int, *, rounds: int, stream: int) -> Floats:
    """How often each of `number` things is drawn in each round, (rounds, number)."""
    if not number:
        return np.zeros((rounds, 0))
    generator = np.random.default_rng([SEED, stream])
    return generator.multinomial(number, np.full(number, 1 / number), size=rounds).astype(np.float64)


def _all_rounds(figures: Any, draws: Floats, index: NDArray[np.int64]) -> Floats:
    """Figures of all cases as they are, then of each round, (1 + rounds, measures), in blocks of bounded memory."""
    size = max(1, AT_ONCE // max(1, len(index)))
    blocks = [figures(np.ones((1, len(index))))]
    blocks += [figures(draws[begun : begun + size][:, index]) for begun in range(0, len(draws), size)]
    return np.concatenate(blocks)


def _over_seeds(values: Floats, chosen: Floats) -> Floats:
    """The mean over the drawn seeds, (rounds, measures), of (seeds, rounds, measures); NaN where none has a value."""
    defined = np.isfinite(values)
    counts = chosen.T[:, :, None] * defined
    total = counts.sum(axis=0)
    sums = (counts * np.where(defined, values, 0.0)).sum(axis=0)
    result: Floats = np.divide(sums, total, out=np.full(total.shape, np.nan), where=total > 0)
    return result


def _is_better(one: Floats, other: Floats) -> bool:
    """Whether the interval of the paired difference lies above 0."""
    difference = one - other
    difference = difference[np.isfinite(difference)]
    return bool(difference.size) and bool(np.percentile(difference, PERCENTILES[0]) > 0)


def _figure(scores: Scores, key: Key, column: int) -> Metric:
    measure, values = scores.measures[column], scores.whole[key][:, column]
    values = values[np.isfinite(values)]
    drawn = scores.drawn[key][:, column]
    drawn = drawn[np.isfinite(drawn)]
    low = high = None
    if values.size and drawn.size > 1:
        low, high = (float(end) for end in np.percentile(drawn, PERCENTILES))
    return Metric(
        name=measure.name, value=float(values.mean()) if values.size else None, low=low, high=high,
        n=scores.cases[key], unit=measure.unit, higher_is_better=measure.higher_is_better,
    )  # fmt: skip


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

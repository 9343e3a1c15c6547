"""Bootstrap of 12 models x 660 battles against the plain loop, and a million battles: rows are appended to ratings.csv.

python benchmarks/ratings.py
"""

from __future__ import annotations

import csv
import os
import platform
import random
import secrets
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from omlab_pulse_eval.battles import Battles, read_battles
from omlab_pulse_eval.ratings import bradley_terry, elo_online, elo_rounds, seeded_draws

HERE = Path(__file__).parent
ROUNDS = 1000
COLUMNS = ("date", "what", "p20_s", "p50_s", "p80_s", "repeats", "against_plain_loop", "numpy", "python", "processor",
           "run")  # fmt: skip


def plain_loop(battles: Battles, rounds: int) -> list[list[float]]:
    """The bootstrap as one would write it down: for each round and each battle, the Elo update."""
    draw = random.Random(0)
    rows = list(zip(battles.first.tolist(), battles.second.tolist(), battles.scores.tolist(), strict=True))
    result = []
    for _ in range(rounds):
        ratings = [1000.0] * len(battles.models)
        for a, b, score in draw.choices(rows, k=len(rows)):
            expected_a = 1 / (1 + 10 ** ((ratings[b] - ratings[a]) / 400))
            expected_b = 1 / (1 + 10 ** ((ratings[a] - ratings[b]) / 400))
            ratings[a] += 4 * (score - expected_a)
            ratings[b] += 4 * (1 - score - expected_b)
        result.append(ratings)
    return result


def timed(work: Callable[[], object], *, repeats: int) -> list[float]:
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return sorted(times)


def million() -> Battles:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 12, 1_000_000)
    second = (first + rng.integers(1, 12, 1_000_000)) % 12
    return Battles(
        models=tuple(f"m{n}" for n in range(12)),
        first=first,
        second=second,
        outcome=rng.integers(0, 4, 1_000_000).astype(np.int8),
    )


def main() -> None:
    recorded = read_battles(HERE.parent / "tests" / "golden" / "battles-MedQA-USMLE.csv")
    many = million()
    plain = timed(lambda: plain_loop(recorded, ROUNDS), repeats=3)
    vector = timed(
        lambda: elo_rounds(recorded, seeded_draws(len(recorded), rounds=ROUNDS, seed=0), rounds=ROUNDS), repeats=9
    )
    rows = [
        ("bootstrap 1000 x 660 battles, plain loop", plain, 1.0),
        ("bootstrap 1000 x 660 battles", vector, statistics.median(plain) / statistics.median(vector)),
        ("Bradley-Terry of 1,000,000 battles", timed(lambda: bradley_terry(many), repeats=5), None),
        ("online Elo of 1,000,000 battles", timed(lambda: elo_online(many), repeats=3), None),
    ]
    path = HERE / "ratings.csv"
    fresh = not path.exists()
    run = f"{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(3)}"
    with path.open("a", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        if fresh:
            table.writerow(COLUMNS)
        for what, times, ratio in rows:
            p20, p50, p80 = (float(np.percentile(times, q)) for q in (20, 50, 80))
            row = (
                datetime.now(UTC).date().isoformat(), what, f"{p20:.4f}", f"{p50:.4f}", f"{p80:.4f}", len(times),
                "" if ratio is None else f"{ratio:.1f}", np.__version__, platform.python_version(),
                platform.machine(), run,
            )  # fmt: skip
            table.writerow(row)
            print(*row, sep="  ")


if __name__ == "__main__":
    main()

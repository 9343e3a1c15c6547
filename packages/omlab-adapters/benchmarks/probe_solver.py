"""Linear probes of many episodes and penalties: our solver beside a loop of scikit-learn.

    python benchmarks/probe_solver.py                 # appends rows to results.csv

1,000 drawn embeddings of 1,024 features, 19 classes of which each may be right by itself; episodes of 1, 5 and 10
shots a class with 5 seeds each, 5 penalties. Each way standardises by the episode's cases, fits a logistic regression
for each class and penalty, and gives the probabilities of all other cases. All are measured in one process, one after
the other. scikit-learn's loop is run as it comes (tol 1e-4), which stops short of the optimum where few cases have
many features, and to 1e-8. `auc_gap` is how far the mean AUROC of an episode and penalty is at most from that of
ours.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from omlab_adapters.probes.designs import Design
from omlab_adapters.probes.regressions import solve_heads

RESULTS = Path(__file__).with_name("results.csv")
IMAGES, FEATURES, CLASSES = 1000, 1024, 19
SHOTS, SEEDS = (1, 5, 10), 5
STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)
ITERATIONS = 2000

Floats = NDArray[Any]
Way = Callable[[Floats, Floats, Floats], Floats]


def drawn() -> tuple[Floats, Floats]:
    """Embeddings of 48 hidden causes at very different strengths, and labels that some of them make."""
    generator = np.random.default_rng(0)
    causes = generator.normal(size=(IMAGES, 48))
    mixing = generator.normal(size=(48, FEATURES)) * np.geomspace(3, 0.1, FEATURES)
    noise = generator.normal(size=(IMAGES, FEATURES))
    labels = causes[:, :CLASSES] + 0.8 * generator.normal(size=(IMAGES, CLASSES)) > 1.6
    return (causes @ mixing + noise).astype(np.float32), labels.astype(np.float64)


def episodes(labels: Floats) -> list[NDArray[np.int64]]:
    """The cases of each episode: shots of each class, by seed."""
    found = []
    for shots in SHOTS:
        for seed in range(SEEDS):
            order = np.random.default_rng(seed).permutation(IMAGES)
            chosen = {int(n) for k in range(CLASSES) for n in order[labels[order, k] == 1][:shots]}
            found.append(np.array(sorted(chosen)))
    return found


def ours(vectors: Floats, labels: Floats, asked: Floats) -> Floats:
    """Probabilities (penalties, cases, classes)."""
    design = Design.of(torch.from_numpy(vectors), scaling="standard")
    (heads,) = solve_heads("several", [design], [labels], strengths=STRENGTHS)
    result: Floats = heads.raw(design.project(torch.from_numpy(asked))).sigmoid().numpy()
    return result


def scikit_learn(vectors: Floats, labels: Floats, asked: Floats, *, tolerance: float = 1e-4) -> Floats:
    """Likewise, a fit at a time."""
    scaler = StandardScaler().fit(vectors.astype(np.float64))
    known, new = scaler.transform(vectors.astype(np.float64)), scaler.transform(asked.astype(np.float64))
    found = np.zeros((len(STRENGTHS), len(asked), CLASSES))
    for k in range(CLASSES):
        for s, strength in enumerate(STRENGTHS):
            model = LogisticRegression(C=strength, max_iter=ITERATIONS, tol=tolerance).fit(known, labels[:, k])
            found[s, :, k] = model.predict_proba(new)[:, 1]
    return found


def auroc(labels: Floats, probabilities: Floats) -> Floats:
    """The mean over classes, for each penalty."""
    return np.array([[roc_auc_score(labels[:, k], part[:, k]) for k in range(CLASSES)] for part in probabilities]).mean(
        axis=1
    )


def main() -> None:
    """Measure, print and append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="of ours; the loop is run once")
    rounds = parser.parse_args().rounds
    vectors, labels = drawn()
    chosen = episodes(labels)
    ways: dict[str, tuple[Way, int]] = {
        "ours": (ours, rounds),
        "scikit-learn": (scikit_learn, 1),
        "scikit-learn to 1e-8": (partial(scikit_learn, tolerance=1e-8), 1),
    }
    rows, curves = [], {}
    for way, (function, times) in ways.items():
        clock, cpu, found = [], [], []
        for _ in range(times):
            began, began_cpu = time.perf_counter(), time.process_time()
            found = [function(vectors[rows_], labels[rows_], np.delete(vectors, rows_, axis=0)) for rows_ in chosen]
            clock.append(time.perf_counter() - began)
            cpu.append(time.process_time() - began_cpu)
        curves[way] = np.array([auroc(np.delete(labels, r, axis=0), p) for r, p in zip(chosen, found, strict=True)])
        rows.append({"way": way, "rounds": times, "seconds": clock, "cpu_s": round(min(cpu), 2)})
    append(rows, curves)


def append(rows: list[dict[str, Any]], curves: dict[str, Floats]) -> None:
    """Add what was measured to the table, with the machine and the versions."""
    about = {
        "benchmark": "linear probes of few shots", "images": IMAGES, "features": FEATURES, "classes": CLASSES,
        "shots": " ".join(map(str, SHOTS)), "seeds": SEEDS, "penalties": len(STRENGTHS),
        "fits": len(SHOTS) * SEEDS * CLASSES * len(STRENGTHS),
    }  # fmt: skip
    machine = {
        "machine": platform.machine(), "cores": os.cpu_count(), "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1), "python": platform.python_version(),
        "torch": importlib.metadata.version("torch"), "sklearn": importlib.metadata.version("scikit-learn"),
        "date": time.strftime("%F", time.gmtime()),
    }  # fmt: skip
    loop = next(row for row in rows if row["way"] == "scikit-learn")
    table = []
    for row in rows:
        cuts = statistics.quantiles(row["seconds"] * 2, n=10, method="inclusive")
        figures = {"p20_s": round(cuts[1], 2), "p50_s": round(cuts[4], 2), "p80_s": round(cuts[7], 2)}
        speed = round(loop["cpu_s"] / row["cpu_s"], 1)
        gap = float(np.abs(curves["ours"] - curves[row["way"]]).max())
        table.append(
            about | {"way": row["way"], "rounds": row["rounds"]} | figures
            | {"cpu_s": row["cpu_s"], "times_as_fast": speed, "auc": round(float(curves[row["way"]].mean()), 4)}
            | {"auc_gap": round(gap, 5)} | machine
        )  # fmt: skip
        print(*(f"{name}={value}" for name, value in table[-1].items()))
    is_new = not RESULTS.exists()
    with RESULTS.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]))
        if is_new:
            writer.writeheader()
        writer.writerows(table)


if __name__ == "__main__":
    main()

"""Does the recipe `clicks` learn? The tiny network on slices of the phantom, against itself untrained.

    python contrib/omlab-sammed2d/benchmarks/phantom.py WORK_FOLDER

Trains on the phantom's training cases, then simulates prompts on its test cases: Dice of each object after the box
around it on the slice that shows most of it (`dice_box`), carried along to the other slices, and after each click.
Prints means over objects with 95 % bootstrap intervals over the cases; what is printed stands in the README.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

import omlab

MODEL = "sammed2d-tiny-volume.untrained"
TRAINING = {"epochs": 6, "steps_per_epoch": 40, "learning_rate": 0.001, "encoder": "all"}
CLICKS = 3


def main(folder: Path) -> None:
    began = time.monotonic()
    data = "abdomen-phantom"
    omlab.adapt(
        MODEL,
        data=data,
        root=folder / "phantom",
        recipe="clicks",
        output=folder / "mine",
        settings=TRAINING,
        device="cpu",
    )
    print(f"trained in {time.monotonic() - began:.0f} s")
    phantom = omlab.load_dataset(data, root=folder / "phantom")
    cases = [case.load() for case in phantom.cases("test")]
    for name in (MODEL, str(folder / "mine")):
        session = omlab.load_model(name, device="cpu")
        rounds: dict[str, list[float]] = {}
        for sample in cases:
            done = session.simulate(
                volume=sample.inputs["volume"], reference=sample.target, clicks=CLICKS, seed=0, start="box"
            )
            rows = done.scores.rows
            columns = {"box": [row["dice_box"] for row in rows if row["round"] == 1]}
            columns |= {f"{n} clicks": [row["dice"] for row in rows if row["round"] == n] for n in range(1, CLICKS + 1)}
            for what, values in columns.items():
                rounds.setdefault(what, []).append(float(np.mean(values)))
        for what, values in rounds.items():
            low, high = interval(np.array(values))
            print(f"{name}: Dice after {what} {np.mean(values):.3f} ({low:.3f} to {high:.3f}), {len(values)} cases")


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over cases."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(2000, len(values)))].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Confidence against the Dice that was had: a small network trained, calibrated and judged on phantoms.

    python packages/omlab-volume/benchmarks/confidence.py FOLDER

Trains `stunet-tiny` as `omlab demo` does, on eight phantoms, calibrates it on eight others and segments eight further
ones, as they are and made worse (noise, blur, an offset of HU: what a network may meet). Prints the tables of
docs/confidence.md; started again, it goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

import omlab
from omlab.payloads import take
from omlab.roles import Sample
from omlab_adapters.confidence import compared
from omlab_payloads.names import name_key
from omlab_phantom.demo import DATA, MODEL, RECIPE, TRAINING
from omlab_volume.orientation import canonical_array, canonical_grid
from omlab_volume.volume import LabelMap, Volume

Worsen = Callable[[Any, Any], Any]
"""(voxels (C, x, y, z), generator) -> worse ones."""
PHANTOM = {"seed": 200, "train": 8, "val": 8, "test": 8}
SETTINGS = {f"data.{name}": value for name, value in PHANTOM.items()}


def main() -> None:
    """Train, calibrate, judge; print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    trained, calibrated = folder / "trained", folder / "calibrated"
    omlab.adapt(MODEL, DATA, root=folder / "data", recipe=RECIPE, output=trained, settings={**TRAINING, **SETTINGS})
    omlab.adapt(trained, DATA, root=folder / "data", adapter="calibrate", output=calibrated, settings=SETTINGS)
    session = omlab.load_model(calibrated)
    data = omlab.load_dataset(DATA, root=folder / "data", settings=PHANTOM)
    samples = [case.load() for case in data.cases("test")]
    print("| images | structures | Dice | confidence | mean difference | rank correlation | of the margin | doubts |")
    print("|---|---|---|---|---|---|---|---|")
    clean: list[tuple[str, float, float]] = []
    for name, worsen in WORSE.items():
        rows, doubts = _judged(session, samples, worsen)
        clean = clean or rows[:, [0, 1, 2]].tolist()
        said, dice, margin = (rows[:, n].astype(float) for n in (1, 2, 3))
        ranks = [f"{spearmanr(figures, dice).statistic:.2f}" for figures in (said, margin)]
        means = [f"{figure.mean():.3f}" for figure in (dice, said, np.abs(said - dice))]
        print("|", " | ".join([name, str(len(rows)), *means, *ranks, f"{doubts} of {len(samples)}"]), "|", flush=True)
    print("\n| structure | Dice | confidence | mean difference |\n|---|---|---|---|")
    for name in dict.fromkeys(row[0] for row in clean):
        mine = np.array([[float(said), float(dice)] for other, said, dice in clean if other == name])
        gap = np.abs(mine[:, 0] - mine[:, 1]).mean()
        print(f"| {name} | {mine[:, 1].mean():.3f} | {mine[:, 0].mean():.3f} | {gap:.3f} |")


def _judged(session: Any, samples: Sequence[Sample], worsen: Worsen) -> tuple[np.ndarray[Any, Any], int]:
    """Name, confidence, Dice and surface margin of every structure, and in how many cases something was doubtful."""
    rows, doubtful = [], 0
    for number, sample in enumerate(samples):
        volume, target = take(sample.inputs, "volume", Volume), sample.target
        assert isinstance(target, LabelMap)
        # along RAS+ axes, on which the flip is one of left and right
        array = canonical_array(volume.array, volume.grid).astype(np.float32)
        worse = np.ascontiguousarray(worsen(array, np.random.default_rng(number)))
        changed = replace(volume, array=worse, affine=canonical_grid(volume.grid).affine)
        target = replace(
            target, array=canonical_array(target.array, target.grid), affine=canonical_grid(target.grid).affine
        )
        (result,) = session.apply("predict", [{"volume": changed}])
        doubtful += bool(result.facts["gate"]["volume"]["doubts"])
        for label in result.labels:
            facts = result.facts["structures"].get(label.name)
            alone = replace(result, labels=[label])
            for _, dice in compared(alone, target) if facts else ():
                rows.append((name_key(label.name), facts["confidence"], dice, facts["surface_margin"]))
    return np.array(rows, dtype=object), doubtful


WORSE: dict[str, Worsen] = {
    "as they are": lambda array, rng: array,
    "noise of 150 HU": lambda array, rng: array + rng.normal(0, 150, array.shape).astype(np.float32),
    "blurred by 6 mm": lambda array, rng: gaussian_filter(array, (0, 2, 2, 1)),
    "+1024 HU": lambda array, rng: array + 1024,
    "flipped left-right": lambda array, rng: np.flip(array, 1),
}


if __name__ == "__main__":
    main()

"""The picture of models for proteins: what one learned of drawn sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import omlab
from tools.pictures.drawing import beside, scatter
from tools.pictures.volumes import curve_of

HYDROPHOBIC, OTHERS = "AILMFVWY", "CDEGHKNPQRST"
SPLITS = {"train": 160, "val": 30, "test": 60}
TRAINING = {"epochs": 10, "batch_size": 8, "learning_rate": 0.003}
HEIGHT = 360


def predicted(model: str, folder: Path) -> tuple[Image.Image, str]:
    """A number of each sequence, as a small network tells it, against the truth."""
    table, mine = folder / "sequences.csv", folder / model
    rows = ["id,sequence:sequence,target,split"]
    draws = np.random.default_rng(0)
    for split, count in SPLITS.items():
        for number in range(count):
            letters, share = _drawn(draws)
            rows.append(f"{split}-{number},{letters},{40 + 30 * share + draws.normal():.2f},{split}")
    table.write_text("\n".join(rows), encoding="utf-8")
    data = f"cases:{table}"
    omlab.adapt(model, data, recipe="regression", output=mine, settings=TRAINING, device="cpu")
    session = omlab.load_model(mine, device="cpu")
    truth, found = [], []
    for case in omlab.load_dataset(data).cases("test"):
        sample: Any = case.load()
        answer: Any = session.predict(**sample.inputs)
        truth.append(next(iter(sample.target.values.values())))
        found.append(next(iter(answer.values.values())))
    return beside(scatter(truth, found, unit="°C", height=HEIGHT), curve_of(mine), height=HEIGHT), (
        f"A small network of this form after a short training on {SPLITS['train']} sequences; their number is 40 + "
        "30 times their hydrophobic share: its answers for others, its loss. Not the published weights, and no protein"
    )


def _drawn(draws: np.random.Generator) -> tuple[str, float]:
    """A sequence of 10 to 19 residues, and its hydrophobic share."""
    chance = draws.uniform(0, 1)
    inside = draws.uniform(size=draws.integers(10, 20)) < chance
    letters = "".join(draws.choice(list(HYDROPHOBIC if one else OTHERS)) for one in inside)
    return letters, float(inside.mean())

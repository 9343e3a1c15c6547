"""Does masked autoencoding teach the tiny network anything? A linear probe on it, before and after.

    python benchmarks/pretraining.py FOLDER [--epochs 60]

Draws fundus-like pictures of four classes that differ in the shape of small marks alone (discs, rings, crosses, bars;
anywhere, in any colour, as many and as bright), pre-trains `retfound-tiny` on those of the training split without their
classes, and probes its features and those of the untrained network. A few minutes on two cores.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import omlab

CLASSES = ("disc", "ring", "cross", "bar")
SIZE, RADIUS = 64, 3.2
SPLITS = {"train": 800, "test": 400}


def picture(kind: str, random: np.random.Generator) -> NDArray[np.uint8]:
    """A round field of uneven light with vessels, and 12 marks of one shape."""
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(float)
    light = 0.45 + 0.15 * np.sin((rows * random.normal() + columns * random.normal()) / 25 + random.uniform(0, 6))
    for _ in range(4):
        bend = random.uniform(-12, 12) * np.sin(rows / random.uniform(8, 20)) + random.uniform(0, SIZE)
        light -= 0.2 * np.exp(-(((columns - bend) / 1.2) ** 2))
    for _ in range(12):
        row, column = random.uniform(8, SIZE - 8, 2)
        turn = random.uniform(0, np.pi)
        along = (rows - row) * np.cos(turn) + (columns - column) * np.sin(turn)
        across = (columns - column) * np.cos(turn) - (rows - row) * np.sin(turn)
        light += random.choice([-0.3, 0.3]) * _mark(kind, along, across)
    colour = np.array([1.0, 0.6, 0.35]) * random.uniform(0.7, 1.2, 3)
    field = (rows - SIZE / 2) ** 2 + (columns - SIZE / 2) ** 2 < (SIZE / 2 - 1) ** 2
    shown = light[..., None] * colour + random.normal(0, 0.02, (SIZE, SIZE, 3))
    return np.rint(255 * np.clip(np.where(field[..., None], shown, 0), 0, 1)).astype(np.uint8)


def _mark(kind: str, along: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.float64]:
    """A mark of about the same area for every kind, from 0 to 1."""
    distance = np.hypot(along, across)
    inside = {
        "disc": 0.75 * RADIUS - distance,
        "ring": 0.33 * RADIUS - np.abs(distance - RADIUS),
        "cross": 0.3 * RADIUS - np.minimum(np.abs(along), np.abs(across)) + np.minimum(0, 1.6 * RADIUS - distance),
        "bar": np.minimum(0.45 * RADIUS - np.abs(along), 1.2 * RADIUS - np.abs(across)),
    }[kind]
    return 1 / (1 + np.exp(-3 * np.asarray(inside)))


def draw(folder: Path) -> Path:
    """Draw all pictures, and their table."""
    random = np.random.default_rng(0)
    table = folder / "pictures.csv"
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["id", "image", "target", "split"])
        for split, count in SPLITS.items():
            for number in range(count):
                kind, name = CLASSES[number % len(CLASSES)], f"{split}-{number:03d}"
                Image.fromarray(picture(kind, random)).save(folder / "pictures" / f"{name}.png")
                rows.writerow([name, f"pictures/{name}.png", kind, split])
    return table


def probe(model: str | Path, table: Path, folder: Path) -> dict[str, object]:
    """Accuracy and AUC of a linear probe, with their intervals."""
    omlab.adapt(model, f"cases:{table}", adapter="linear-probe", output=folder / "probe")
    report = omlab.evaluate(folder / "probe", f"cases:{table}", output=folder / "report")
    content = json.loads((report.place / "report.json").read_text())
    chosen = ("accuracy", "auc")
    return {
        row["name"]: [row["value"], row["low"], row["high"]]
        for row in content["metrics"]
        if row["name"] in chosen and not row["label"]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=60)
    asked = parser.parse_args()
    table = draw(asked.folder)
    settings = {"epochs": asked.epochs, "batch_size": 32, "warmup_epochs": 3, "learning_rate": 0.008}
    omlab.adapt(
        "retfound-tiny", f"cases:{table}", recipe="mae", adapter="finetune", settings=settings,
        output=asked.folder / "pretrained",
    )  # fmt: skip
    history = json.loads((asked.folder / "pretrained" / "history.json").read_text())
    print("loss", history[0]["loss"], "->", history[-1]["loss"])
    print("untrained", probe("retfound-tiny", table, asked.folder / "untrained"))
    print("pretrained", probe(asked.folder / "pretrained", table, asked.folder / "after"))


if __name__ == "__main__":
    main()

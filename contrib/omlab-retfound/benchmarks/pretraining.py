"""Does masked autoencoding teach the tiny network anything? A linear probe on it, before and after.

    python benchmarks/pretraining.py FOLDER [--epochs 60]

Draws fundus-like pictures in which the light falls from one of six sides, faintly, over spots of any size, place and
sign. `retfound-tiny` is pre-trained on those of the training split without their classes; then its features, and those
of the untrained network, are probed for the side. Some minutes on two cores.
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

CLASSES = ("right", "lower right", "lower left", "left", "upper left", "upper right")
SIZE, SPOTS = 64, 6
SPLITS = {"train": 900, "test": 600}


def picture(side: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """A round field that grows brighter towards one side, with spots and noise, in some colour."""
    rows, columns = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    turn = 2 * np.pi * (side + random.uniform(-0.3, 0.3)) / len(CLASSES)
    along = rows * np.sin(turn) + columns * np.cos(turn)
    light = 0.5 + random.uniform(0.04, 0.1) * np.tanh(along / random.uniform(10, 30))
    for _ in range(SPOTS):
        row, column = random.uniform(-26, 26, 2)
        distance = np.hypot(rows - row, columns - column) / random.uniform(2, 5)
        light += random.choice([-0.25, 0.25]) * np.exp(-(distance**2) / 2)
    colour = np.array([1.0, 0.6, 0.35]) * random.uniform(0.7, 1.2, 3)
    field = np.hypot(rows, columns) < SIZE / 2 - 1
    shown = light[..., None] * colour + random.normal(0, 0.03, (SIZE, SIZE, 3))
    return np.rint(255 * np.clip(np.where(field[..., None], shown, 0), 0, 1)).astype(np.uint8)


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
                side, name = number % len(CLASSES), f"{split}-{number:03d}"
                Image.fromarray(picture(side, random)).save(folder / "pictures" / f"{name}.png")
                rows.writerow([name, f"pictures/{name}.png", CLASSES[side], split])
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
    parser.add_argument("--epochs", type=int, default=40)
    asked = parser.parse_args()
    table = draw(asked.folder)
    settings = {"epochs": asked.epochs, "batch_size": 32, "warmup_epochs": 3, "learning_rate": 0.012}
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

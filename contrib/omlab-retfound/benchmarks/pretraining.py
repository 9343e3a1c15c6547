"""Does masked autoencoding teach the tiny network anything? A linear probe on it, before and after.

    python benchmarks/pretraining.py FOLDER [--epochs 30] [--seed 0]

Draws fundus-like pictures in which the light falls from one of six sides, faintly, over spots of any size, place and
sign. `retfound-tiny` is pre-trained on 900 of them without their classes; then its features, and those of the untrained
network, are probed for the side, with 60 others to learn from and 1,200 to be judged by. Some minutes on two cores.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import omlab

CLASSES = ("right", "lower right", "lower left", "left", "upper left", "upper right")
SIZE, SPOTS = 64, 6
UNLABELLED = {"train": 900}
LABELLED = {"train": 60, "test": 1200}


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


def draw(table: Path, splits: Mapping[str, int], *, seed: int) -> str:
    """Draw as many pictures of each split, and their table; gives the data set's name."""
    random = np.random.default_rng(seed)
    pictures = table.with_suffix("")
    pictures.mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["id", "image", "target", "split"])
        for split, count in splits.items():
            for number in range(count):
                side, name = number % len(CLASSES), f"{split}-{number:04d}"
                Image.fromarray(picture(side, random)).save(pictures / f"{name}.png")
                rows.writerow([name, f"{pictures.name}/{name}.png", CLASSES[side], split])
    return f"cases:{table}"


def probe(model: str | Path, data: str, folder: Path) -> dict[str, object]:
    """Accuracy and area under the curve of a linear probe, with their intervals."""
    omlab.adapt(model, data, adapter="linear-probe", output=folder / "probe")
    report = omlab.evaluate(folder / "probe", data, output=folder / "report")
    content = json.loads((report.place / "report.json").read_text())
    chosen = ("accuracy", "auroc")
    return {
        row["name"]: [row["value"], row["low"], row["high"]]
        for row in content["metrics"]
        if row["name"] in chosen and not row["label"]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0, help="of the pictures and the training")
    asked = parser.parse_args()
    folder: Path = asked.folder
    unlabelled = draw(folder / "unlabelled.csv", UNLABELLED, seed=2 * asked.seed)
    labelled = draw(folder / "labelled.csv", LABELLED, seed=2 * asked.seed + 1)
    settings = {
        "epochs": asked.epochs,
        "batch_size": 32,
        "warmup_epochs": 2,
        "learning_rate": 0.012,
        "normalise_patches": False,  # the light is in the means of patches, which normalising takes away
        "least_area": 0.6,
    }
    place = folder / "pretrained"
    omlab.adapt("retfound-tiny", unlabelled, recipe="mae", settings=settings, seed=asked.seed, output=place)
    history = json.loads((folder / "pretrained" / "history.json").read_text())
    print("loss", history[0]["loss"], "->", history[-1]["loss"])
    print("untrained", probe("retfound-tiny", labelled, folder / "untrained"))
    print("pretrained", probe(folder / "pretrained", labelled, folder / "after"))


if __name__ == "__main__":
    main()

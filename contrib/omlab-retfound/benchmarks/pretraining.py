"""Does masked autoencoding teach the tiny network anything? A linear probe on it, before and after.

    python benchmarks/pretraining.py FOLDER [--epochs 30] [--seed 0]

Draws fundus-like pictures in which the light falls from one of six sides, faintly, over spots of any size, place and
sign. `retfound-tiny` is pre-trained on 900 of them without their classes; then its features, and those of the untrained
network, are probed for the side, with 60 others to learn from and 1,200 to be judged by. Some minutes on two cores.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omlab_image.probing import draw_table, pretrain_and_probe

CLASSES = ("right", "lower right", "lower left", "left", "upper left", "upper right")
SIZE, SPOTS = 64, 6
UNLABELLED = {"train": 900}
LABELLED = {"train": 60, "test": 1200}


def picture(side: str, random: np.random.Generator) -> NDArray[np.uint8]:
    """A round field that grows brighter towards one side, with spots and noise, in some colour."""
    rows, columns = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    turn = 2 * np.pi * (CLASSES.index(side) + random.uniform(-0.3, 0.3)) / len(CLASSES)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0, help="of the pictures and the training")
    asked = parser.parse_args()
    folder: Path = asked.folder
    drawn = partial(draw_table, classes=CLASSES, picture=picture)
    unlabelled = drawn(folder / "unlabelled.csv", UNLABELLED, seed=2 * asked.seed)
    labelled = drawn(folder / "labelled.csv", LABELLED, seed=2 * asked.seed + 1)
    settings = {
        "epochs": asked.epochs,
        "batch_size": 32,
        "warmup_epochs": 2,
        "learning_rate": 0.012,
        "normalise_patches": False,  # the light is in the means of patches, which normalising takes away
        "least_area": 0.6,
    }
    pretrain_and_probe(
        "retfound-tiny",
        unlabelled=unlabelled,
        labelled=labelled,
        recipe="mae",
        settings=settings,
        seed=asked.seed,
        folder=folder,
    )


if __name__ == "__main__":
    main()

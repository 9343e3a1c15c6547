"""Does pre-training teach the tiny network anything? A linear probe on it, before and after.

    python benchmarks/pretraining.py FOLDER [--recipe moco] [--epochs 20] [--seed 0]

Draws pictures like stained tissue, whose six classes differ by what is in them (fibres, fat, glands, large nuclei,
small ones, debris) and not by their colours. `pathoduet-tiny` is pre-trained on 600 of them without their classes, by a
recipe that takes single images (`moco`, `cross-scale`); then its features, and those of the untrained network, are
probed with 120 others to learn from and 900 to be judged by. Some minutes on two cores.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from omlab_image.probing import draw_table, pretrain_and_probe

CLASSES = ("debris", "fat", "fibres", "glands", "large nuclei", "small nuclei")
SIZE = 64
UNLABELLED = {"train": 600}
LABELLED = {"train": 120, "test": 900}


def picture(kind: str, random: np.random.Generator) -> NDArray[np.uint8]:
    """How much of a stain is where, by the kind of tissue, in a colour of its own, with noise."""
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(float)
    stain, counter = np.full((SIZE, SIZE), random.uniform(0.1, 0.25)), random.uniform(0.3, 0.5)

    def distances(count: int) -> list[NDArray[np.float64]]:
        return [np.hypot(rows - row, columns - column) for row, column in random.uniform(0, SIZE, (count, 2))]

    if kind == "fibres":
        turn, wide = random.uniform(0, np.pi), random.uniform(5, 9)
        along = rows * np.sin(turn) + columns * np.cos(turn)
        across = columns * np.sin(turn) - rows * np.cos(turn)
        stain += counter * (0.5 + 0.5 * np.sin(2 * np.pi * (along + 2 * np.sin(across / 8)) / wide)) ** 2
    elif kind == "fat":
        nearest = np.sort(np.stack(distances(14)), axis=0)
        stain = counter * np.exp(-(((nearest[1] - nearest[0]) / 2) ** 2))
    elif kind == "glands":
        for distance in distances(4):
            stain += counter * np.exp(-(((distance - random.uniform(7, 11)) / 2) ** 2))
    elif kind == "debris":
        coarse = random.normal(0, 1, (9, 9))
        smooth = np.asarray(Image.fromarray(coarse.astype(np.float32)).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
        stain += 0.3 * counter * smooth
    else:
        count, radius = (14, random.uniform(4, 5)) if kind == "large nuclei" else (70, random.uniform(1.5, 2))
        for distance in distances(count):
            stain = np.maximum(stain, counter * (distance < radius))
    colour = np.array([0.5, 0.9, 0.35]) * random.uniform(0.7, 1.3, 3)
    shown = np.exp(-stain[..., None] * colour * random.uniform(1, 1.6)) + random.normal(0, 0.03, (SIZE, SIZE, 3))
    return np.rint(255 * np.clip(shown, 0, 1)).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recipe", choices=["moco", "cross-scale"], default="moco")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0, help="of the pictures and the training")
    asked = parser.parse_args()
    folder: Path = asked.folder
    drawn = partial(draw_table, classes=CLASSES, picture=picture)
    unlabelled = drawn(folder / "unlabelled.csv", UNLABELLED, seed=2 * asked.seed)
    labelled = drawn(folder / "labelled.csv", LABELLED, seed=2 * asked.seed + 1)
    settings = {
        "epochs": asked.epochs,
        "batch_size": 60,
        "warmup_epochs": 2,
        "learning_rate": 0.02,
        "least_area": 0.4,
        "momentum": 0.9,
    }
    pretrain_and_probe(
        "pathoduet-tiny",
        unlabelled=unlabelled,
        labelled=labelled,
        recipe=asked.recipe,
        settings=settings,
        seed=asked.seed,
        folder=folder,
    )


if __name__ == "__main__":
    main()

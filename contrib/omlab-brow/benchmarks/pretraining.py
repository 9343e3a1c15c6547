"""Does self-distillation teach the tiny network anything? A linear probe on it, before and after.

    python benchmarks/pretraining.py FOLDER [--epochs 20] [--seed 0]

Draws pictures like stained tissue: nuclei that are small, large, long, or laid in rings, in any of many stains and
lights. `brow-tiny` is pre-trained on 600 of them without their classes; then its features, and those of the untrained
network, are probed for the class, with 40 others to learn from and 800 to be judged by. Some minutes on one core.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omlab_image.probing import draw_table, pretrain_and_probe

CLASSES = ("small", "large", "long", "ring")
SIZE = 48
UNLABELLED = {"train": 600}
LABELLED = {"train": 40, "test": 800}


def picture(kind: str, random: np.random.Generator) -> NDArray[np.uint8]:
    """Dark ellipses on a lighter ground, in a stain and light of their own."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    dark = np.zeros((SIZE, SIZE))
    for row, column in _places(kind, random):
        turn = random.uniform(0, np.pi)
        along = (rows - row) * np.sin(turn) + (columns - column) * np.cos(turn)
        across = (rows - row) * np.cos(turn) - (columns - column) * np.sin(turn)
        long, short = {"large": (4.5, 4.0), "long": (6.0, 1.3)}.get(kind, (2.0, 1.8))
        inside = np.hypot(along / (long * random.uniform(0.8, 1.2)), across / (short * random.uniform(0.8, 1.2)))
        dark = np.maximum(dark, 1 / (1 + np.exp(6 * (inside - 1))))
    ground, nucleus = random.uniform(0.6, 0.95, 3), random.uniform(0.1, 0.45, 3)
    shown = ground + dark[..., None] * (nucleus - ground) + random.normal(0, 0.04, (SIZE, SIZE, 3))
    return np.rint(255 * np.clip(shown * random.uniform(0.8, 1.05), 0, 1)).astype(np.uint8)


def _places(kind: str, random: np.random.Generator) -> NDArray[np.float64]:
    """Where nuclei are: about as much of the picture is dark, whatever their kind."""
    if kind != "ring":
        return random.uniform(0, SIZE, ({"small": 24, "large": 6, "long": 12}[kind], 2))
    middles = random.uniform(8, SIZE - 8, (2, 1, 2))
    turns = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    around = np.stack([np.sin(turns), np.cos(turns)], axis=-1) * random.uniform(7, 10)
    return np.asarray((middles + around).reshape(-1, 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=20)
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
        "learning_rate": 0.008,
        "momentum": 0.99,
        "teacher_warmup_epochs": 10,
        "teacher_temperature": 0.07,
        "drop_path": 0.0,
    }
    pretrain_and_probe(
        "brow-tiny",
        unlabelled=unlabelled,
        labelled=labelled,
        recipe="self-distillation",
        settings=settings,
        seed=asked.seed,
        folder=folder,
    )


if __name__ == "__main__":
    main()

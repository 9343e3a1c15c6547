"""Does self-distillation teach the tiny network anything? A linear probe on it, before and after.

    python benchmarks/pretraining.py FOLDER [--epochs 24] [--seed 0]

Draws clips of a bright bar that stands, or moves up or down, slowly or fast, over noise: a single frame does not tell
which. `endofm-tiny` is pre-trained on 256 of them without their classes; then its features, and those of the untrained
network, are probed for the class, with 60 others to learn from and 500 to be judged by. Some minutes on one core.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omlab_image.probing import draw_files, pretrain_and_probe
from omlab_video.io.video_file import write_video

SPEEDS = {"stands": 0.0, "up": -1.5, "down": 1.5, "down fast": 3.0}
"""Rows of a frame after the one before."""
FRAMES, RATE, SIDE, WIDTH = 32, 30, 32, 8
UNLABELLED = {"train": 256}
LABELLED = {"train": 60, "test": 500}


def frames(kind: str, random: np.random.Generator) -> NDArray[np.uint8]:
    """A clip (T, H, W, 3), in colours of its own."""
    rows = np.arange(SIDE)[:, None] - random.uniform(0, SIDE)
    ground, bar = random.uniform(40, 110, 3), random.uniform(150, 230, 3)
    shown = []
    for time in range(FRAMES):
        inside = ((rows - SPEEDS[kind] * time) % SIDE < WIDTH)[..., None]
        shown.append(np.where(inside, bar, ground) + random.normal(0, 8, (SIDE, SIDE, 3)))
    return np.clip(np.stack(shown), 0, 255).astype(np.uint8)


def write(kind: str, random: np.random.Generator, path: Path) -> None:
    """Draw a clip into a file."""
    write_video(path, iter(frames(kind, random)), times=[time / RATE for time in range(FRAMES)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0, help="of the clips and the training")
    asked = parser.parse_args()
    folder: Path = asked.folder
    drawn = partial(draw_files, classes=list(SPEEDS), column="clip", suffix=".mp4", write=write)
    unlabelled = drawn(folder / "unlabelled.csv", UNLABELLED, seed=2 * asked.seed)
    labelled = drawn(folder / "labelled.csv", LABELLED, seed=2 * asked.seed + 1)
    seen = {"model.intensities": "pretraining", "model.seconds": FRAMES / RATE}
    settings = {
        "epochs": asked.epochs,
        "batch_size": 16,
        "warmup_epochs": 3.0,
        "learning_rate": 0.008,
        "momentum": 0.98,
        "outputs": 256,
        "least_part": 0.5,
        "least_local_part": 0.3,
    }
    pretrain_and_probe(
        "endofm-tiny",
        unlabelled=unlabelled,
        labelled=labelled,
        recipe="dino",
        settings=settings,
        seed=asked.seed,
        folder=folder,
        seen=seen,
    )


if __name__ == "__main__":
    main()

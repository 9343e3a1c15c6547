"""The data sets of Endo-FM with a handful of tiny clips each: a bright square that moves to the right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from omlab_video.io.video_file import write_video

ROWS, COLUMNS, SIDE = 48, 64, 12
LEFT, TOP = 5, 10


def frame(number: int, *, colour: tuple[int, int, int] = (230, 120, 90)) -> NDArray[np.uint8]:
    """Frame `number` of a clip: the square has moved by that many pixels."""
    pixels = np.random.default_rng(number).integers(60, 90, (ROWS, COLUMNS, 3)).astype(np.uint8)
    pixels[TOP : TOP + SIDE, LEFT + number : LEFT + number + SIDE] = colour
    return pixels


def write_polypdiag(root: Path, *, train: int = 6, test: int = 4) -> Path:
    """Videos of six frames, every other one abnormal."""
    (root / "splits").mkdir(parents=True)
    (root / "videos").mkdir()
    number = 0
    for name, count in (("train", train), ("val", test)):
        lines = []
        for label in (n % 2 for n in range(count)):
            colour = (250, 250 - 30 * number % 200, 60)
            frames = (frame(n * label, colour=colour) for n in range(6))
            write_video(root / "videos" / f"clip{number}.mp4", frames, times=[n / 25 for n in range(6)])
            lines.append(f"clip{number}.mp4,{label}")
            number += 1
        (root / "splits" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return root


def write_cvc(root: Path, *, leaking: int = 0) -> Path:
    """Twenty clips of two frames for training and three for testing, of which `leaking` are of the twenty."""
    lines = [f"CVC-ClinicDB/Original {1 + 2 * n} 2" for n in range(23)]
    for n in range(leaking):
        lines[20 + n] = lines[n]
    root.mkdir(parents=True, exist_ok=True)
    (root / "videolist.txt").write_text("\n".join(lines))
    for folder in ("Original", "Ground Truth"):
        (root / "CVC-ClinicDB" / folder).mkdir(parents=True)
    for number in range(1, 47):
        pixels = frame(number % 20, colour=(200, 4 * number, 90))
        mask = np.zeros((ROWS, COLUMNS), np.uint8)
        mask[TOP : TOP + SIDE, LEFT + number % 20 : LEFT + number % 20 + SIDE] = 255
        Image.fromarray(pixels).save(root / "CVC-ClinicDB" / "Original" / f"{number}.tif")
        Image.fromarray(mask).save(root / "CVC-ClinicDB" / "Ground Truth" / f"{number}.tif")
    return root


def write_kumc(root: Path, *, frames: int = 4) -> Path:
    """Two videos in each split; every other one is hyperplastic, and each has a frame without a polyp."""
    number = 0
    for split in ("train", "val", "test"):
        for video in ("2", "10"):
            for folder in ("Image", "Annotation"):
                (root / f"{split}2019" / folder / video).mkdir(parents=True)
            for n in range(frames):
                image = Image.fromarray(frame(n, colour=(240, 20 + 30 * number, 90)))
                image.save(root / f"{split}2019" / "Image" / video / f"{n + 8}.jpg", quality=95)
                label = ("adenomatous", "hyperplastic")[number % 2]
                text = annotation(LEFT + n, label=label if n else None)
                (root / f"{split}2019" / "Annotation" / video / f"{n + 8}.xml").write_text(text)
            number += 1
    return root


def annotation(left: int, *, label: str | None) -> str:
    """The boxes of a frame whose square begins at `left`; None: it has none."""
    box = f"<xmin>{left}</xmin><ymin>{TOP}</ymin><xmax>{left + SIDE - 1}</xmax><ymax>{TOP + SIDE - 1}</ymax>"
    entry = f"<object><name>{label}</name><bndbox>{box}</bndbox></object>" if label else ""
    return f"<annotation><size><width>{COLUMNS}</width><height>{ROWS}</height></size>{entry}</annotation>"


def write_pretraining(root: Path) -> Path:
    """Two videos of 20 frames, and a folder of 12 frames that were written out of order, listed as three clips."""
    folder = root / "pretrain" / "SUN-SEG" / "indexed" / "case1_1"
    folder.mkdir(parents=True)
    for number in (2, 10, 11, 1, 3, 12, *range(4, 10)):
        Image.fromarray(frame(number)).save(folder / f"img_{number:05d}.jpg")
    lines = [f"SUN-SEG/indexed/case1_1 {first} 4 -1" for first in (1, 5, 9)]
    (root / "pretrain" / "sun_seg.txt").write_text("\n".join(lines))
    for name in ("a", "b"):
        frames = (frame(n, colour=(200, 200, 90 if name == "a" else 20)) for n in range(20))
        write_video(root / "pretrain" / f"{name}.mp4", frames, times=[n / 30 for n in range(20)])
    (root / "pretrain" / "train.csv").write_text("pretrain/a.mp4,-1\npretrain/b.mp4,-1\n")
    return root


WRITERS = {
    "polypdiag": write_polypdiag,
    "cvc": write_cvc,
    "kumc": write_kumc,
    "endoscopy-clips": write_pretraining,
}

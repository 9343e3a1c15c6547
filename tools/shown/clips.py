"""The reader of docs/clips.md: drawn clips of a square that moves, and data sets in the published layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import omlab
from omlab_payloads.boxes import Box, Boxes
from omlab_testkit.parity import load_file
from omlab_video.io.video_file import write_video
from omlab_video.over_time import BoxesClip, LabelMapClip
from tools.shown.reader import Reader, written
from tools.workspace import ROOT

DRAWN = load_file(ROOT / "contrib" / "omlab-endofm" / "tests" / "tiny_data.py")
FRAMES, RATE = 4, 25
SPLITS = ("train", "train", "val", "test")


def files(folder: Path) -> None:
    """Films, tables of them with each sort of target, CVC and KUMC."""
    tables: dict[str, list[str]] = {name: ["id,clip,target,split"] for name in ("clips", "masks", "boxes")}
    for number, split in enumerate(SPLITS):
        name = f"v{number}"
        film(folder / f"{name}.mp4", green=60 * number)
        omlab.write(masks(), folder / f"{name}.masks")
        omlab.write(boxes(), folder / f"{name}.boxes.json")
        targets = {"clips": ("normal", "polyp")[number % 2], "masks": f"{name}.masks", "boxes": f"{name}.boxes.json"}
        for kind, target in targets.items():
            tables[kind].append(f"{name},{name}.mp4,{target},{split}")
    for kind, rows in tables.items():
        written(folder / f"{kind}.csv", *rows)
    written(folder / "unlabelled.csv", "id,clip", *(f"v{number},v{number}.mp4" for number in range(len(SPLITS))))
    for name in ("clip", "colonoscopy"):
        film(folder / f"{name}.mp4", green=120)
    DRAWN.write_cvc(folder / "CVC-ClinicVideoDB", leaking=2)
    DRAWN.write_kumc(folder / "PolypsSet", frames=2)


def film(path: Path, *, green: int) -> None:
    """A film of the square."""
    frames = (DRAWN.frame(number, colour=(250, green, 60)) for number in range(FRAMES))
    write_video(path, frames, times=[number / RATE for number in range(FRAMES)])


def masks() -> LabelMapClip:
    """Where the square is."""
    array = np.zeros((FRAMES, DRAWN.ROWS, DRAWN.COLUMNS), np.uint8)
    for number in range(FRAMES):
        left = DRAWN.LEFT + number
        array[number, DRAWN.TOP : DRAWN.TOP + DRAWN.SIDE, left : left + DRAWN.SIDE] = 1
    return LabelMapClip(array=array, names={1: "polyp"})


def boxes() -> BoxesClip:
    """A box around the square in each frame."""
    near = [(DRAWN.LEFT + number - 0.5, DRAWN.TOP - 0.5) for number in range(FRAMES)]
    return BoxesClip(
        frames=[
            Boxes(space="pixel", boxes=[Box(near=(x, y), far=(x + DRAWN.SIDE, y + DRAWN.SIDE), label="polyp")])
            for x, y in near
        ]
    )


CLIPS = Reader(
    files=files,
    instead=[
        (r"\b(endofm(-\w+)?) ", r"\1-tiny.untrained "),
        ("(adapt .*)", r"\1 -s epochs=1"),
        ("(--recipe (classification|dino).*)", r"\1 -s warmup_epochs=0"),
    ],
    fails=["datasets verify cvc"],
)

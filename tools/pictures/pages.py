"""What pages of docs open with: drawn slides, clips and scans as the project's own commands show them."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy import ndimage  # type: ignore[import-untyped]

import omlab
from omlab_measure.measuring import measure
from omlab_payloads.pictures.words import BACKGROUND, INK, font
from omlab_phantom import anatomy, render
from omlab_pulse_eval.evaluation import evaluate
from omlab_retrieval import search
from omlab_slide.grid import patches
from omlab_slide.look.picture import sheet_picture
from omlab_slide.testing import draw_slide, held
from omlab_slide.tissue import tissue
from omlab_video.clip import Clip
from omlab_video.over_time import LabelMapClip
from omlab_volume.big.payloads import big
from omlab_volume.gate.volume import check
from omlab_volume.inference.sliding_window import SlidingWindow
from omlab_volume.inference.streaming import stream_windows
from omlab_volume.orientation import canonical_array, canonical_grid
from omlab_volume.volume import Label, Volume
from tools.pictures import encoders
from tools.pictures.drawing import beside, of_array
from tools.pictures.volumes import axons
from tools.sight import window
from tools.workspace import ROOT

Made = tuple[Image.Image, str]
CT = {"values": "hu", "spacing": [[0.4, 8.0], [0.3, 4.0], [0.3, 4.0]], "region": "trunk"}
"""What a model of CT of the trunk expects."""
WINDOW = (-200.0, 300.0)
BATTLES = ROOT / "contrib" / "omlab-pulse-eval" / "tests" / "golden" / "battles-WebMedQA.csv"
MM = (0.004, 0.004, 0.003)  # of a voxel of light-sheet microscopy


def looked_at(folder: Path) -> Made:
    """A slide as `omlab slide look` shows it."""
    slide: Any = held(draw_slide((1536, 1024), seed=4, pen=True))
    found = tissue(slide)
    grid = patches(slide, mpp=0.5, patch=128, overlap=0, tissue=found, least_share=0.5)
    drawn = sheet_picture(slide, tissue=found, patches=grid, canvas=(900, 600))
    return _opened(drawn), (
        f"A drawn slide as omlab slide look shows it: the outline of the tissue, the {len(grid.coords)} patches that "
        "an encoder would be given, a scale bar; the blue line is a pen's and counts as no tissue"
    )


def masked_clip(folder: Path) -> Made:
    """Frames of a clip with a mask that moves with what it is of."""
    rows, columns, count = 180, 240, 16
    draws = np.random.default_rng(0)
    ground = ndimage.gaussian_filter(draws.normal(size=(rows, columns)), 12)
    ground = (ground - ground.min()) / np.ptp(ground)
    row, column = np.mgrid[:rows, :columns]
    frames, masks = [], []
    for number in range(count):
        mask = ((row - 95 - number) / 26) ** 2 + ((column - 60 - 8 * number) / 34) ** 2 < 1
        grey = np.where(mask, 0.85, 0.35 + 0.3 * np.roll(ground, 2 * number, axis=1))
        grey = ndimage.gaussian_filter(grey, 1.5)
        frames.append(np.rint(255 * grey[..., None] * np.array([0.95, 0.6, 0.5])).astype(np.uint8))
        masks.append(mask)
    clip = Clip.of(np.array(frames), rate=25.0, name="drawn")
    found = LabelMapClip(array=np.array(masks).astype(np.uint8), names={1: "polyp"})
    drawn = [*found.drawn(clip)]
    return beside(*(Image.fromarray(drawn[number]) for number in range(0, count, 5))), (
        "Frames of the film that --overlay writes: a drawn clip with the mask that it was drawn by. "
        "No model made this mask, and it is no endoscopy"
    )


def doubted(folder: Path) -> Made:
    """A phantom as it is and spoilt, with what the gate says of each."""
    draws = np.random.default_rng(7)
    scan = render.scan(anatomy.draw(draws), draws, scale=0.8)
    grid, array = canonical_grid(scan.volume.grid), canonical_array(scan.volume.array, scan.volume.grid)
    spoilt: dict[str, Callable[[Any], Any]] = {
        "as it is": lambda array: array,
        "flipped front-back": lambda array: array[..., ::-1, :],
        "HU + 1024": lambda array: array + 1024,
        "blurred": lambda array: ndimage.gaussian_filter(array, (0, 2.5, 2.5, 0)),
    }
    panels = []
    for change in spoilt.values():
        volume = replace(scan.volume, array=np.ascontiguousarray(change(array)), affine=grid.affine, source=None)
        said = check(volume, CT)["doubts"] or ["Nothing is doubtful."]
        panels.append(_captioned(_slice(volume), said[0].removeprefix("The volume: ")))
    return beside(*panels, names=[*spoilt]), (
        "One slice of a phantom, as it is and spoilt, and the first doubt of the gate, which knows only that the model "
        "expects CT of a trunk"
    )


def measured(folder: Path) -> Made:
    """The picture that `omlab measure` puts into a report."""
    draws = np.random.default_rng(3)
    scan = render.scan(anatomy.draw(draws), draws, scale=0.8)
    found = measure(scan.labelmap, scan.volume)
    return _opened(found.overlay({"labelmap": scan.labelmap, "volume": scan.volume})), (
        "The largest structures of a phantom with their long and short axes, as a report of omlab measure shows them"
    )


def alike(folder: Path) -> Made:
    """Queries beside the known pictures that are most like them."""
    draws = np.random.default_rng(0)
    known = [(number % 3, encoders.tissue(number % 3, draws)) for number in range(30)]
    asked = [(number, encoders.tissue(number, draws)) for number in range(3)]
    found = search(np.array([_colours(one) for _, one in known]), np.array([_colours(one) for _, one in asked]), k=5)
    rows = []
    for (_, query), neighbours, near in zip(asked, found.rows, found.similarities, strict=True):
        names = ("query", *(f"{value:.4f}" for value in near))
        rows.append(beside(query, *(known[n][1] for n in neighbours), names=names, height=130))
    made = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), BACKGROUND)
    for number, row in enumerate(rows):
        made.paste(row, (0, number * row.height))
    return made, (
        "Three drawn patches and the five of thirty others that are most like them, with the cosine similarity. The "
        "embedding is no network's: mean and deviation of each colour, and how much is dark"
    )


def board(folder: Path) -> Made:
    """The top of a leaderboard's page."""
    evaluate({"battles": [str(BATTLES)], "rounds": 1000, "seed": 0}, output=folder / "board")
    with window(width=1100, scheme="light") as page:
        page.goto((folder / "board" / "report.html").resolve().as_uri())
        shot = page.screenshot(clip={"x": 0, "y": 0, "width": 1100, "height": 900})
    return _opened(shot), (
        "The top of the page that omlab pulse-eval makes of recorded battles between chat models (WebMedQA, OpenMEDLab)"
    )


def streamed(folder: Path) -> Made:
    """Threads in a big volume, found window by window, in its three planes."""
    image, _ = axons(5, side=96, axons=24)
    brain: Any = big(Volume(array=image[None], affine=np.diag([*MM, 1.0])))

    def bright(windows: torch.Tensor) -> torch.Tensor:
        return torch.cat([850 - windows, windows - 850], dim=1)

    how = SlidingWindow(patch_size=(32, 32, 32), classes=2, device="cpu")
    found = stream_windows(bright, brain, how=how, labels=[Label(value=1, name="axon")])
    omlab.write(found, folder / "axons.ome.zarr")
    written: Any = omlab.read(folder / "axons.ome.zarr", kind="big-labelmap")
    return _opened(written.overlay({"volume": brain})), (
        "Threads in a drawn cube of 96 voxels a side, labelled window by window while the result was written. A "
        "threshold stands in for the network, so that round artefacts are labelled too"
    )


def _slice(volume: Volume) -> Image.Image:
    """The middle axial slice, the patient's right on the left."""
    array = canonical_array(volume.array[0], volume.grid)
    low, high = WINDOW
    plane = array[:, :, array.shape[2] // 2].T[::-1, ::-1]
    return of_array(np.clip((plane - low) / (high - low), 0, 1), side=230)


def _captioned(picture: Image.Image, sentence: str) -> Image.Image:
    """A picture with a sentence below it."""
    size, line = 15, 19
    wrapped = textwrap.wrap(sentence, round(picture.width / (0.52 * size)), max_lines=5, placeholder=" ...")
    made = Image.new("RGB", (picture.width, picture.height + 5 * line + 8), BACKGROUND)
    made.paste(picture, (0, 0))
    brush = ImageDraw.Draw(made)
    for number, text in enumerate(wrapped):
        brush.text((0, picture.height + 8 + number * line), text, font=font(size), fill=INK)
    return made


def _colours(picture: Image.Image) -> np.ndarray:
    """Mean and deviation of each colour, and how much is dark."""
    pixels = np.asarray(picture, np.float32) / 255
    return np.array([*pixels.mean((0, 1)), *pixels.std((0, 1)), (pixels[..., 1] < 0.4).mean()], np.float32)


def _opened(picture: bytes) -> Image.Image:
    return Image.open(io.BytesIO(picture)).convert("RGB")

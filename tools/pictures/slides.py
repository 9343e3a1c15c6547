"""Pictures of models for slides: patches on a real slide, and heat over drawn ones whose answer is known."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import omlab
from omlab_payloads.embedding import Embedding
from omlab_slide.encoding import SlideEncoder
from omlab_slide.grid import patches
from omlab_slide.look.picture import sheet_picture
from omlab_slide.testing import draw_slide, held
from omlab_slide.tissue import tissue
from tools.pictures.drawing import beside
from tools.pictures.images import SHARED

SLIDE = SHARED / "slide" / "cmu-1-small-region.svs"
SIZE, RADIUS = (1536, 1024), 0.14
SIDES = (*["train"] * 24, *["val"] * 6, *["test"] * 2)
GRID = {"mpp": 1.0, "patch": 64, "overlap": 0, "least_share": 0.25, "tissue": "saturation"}
TRAINING = {"epochs": 40, "learning_rate": 0.001, "batch_size": 4, "patience_after": 10, "workers": 0}
HEIGHT = 360

Made = tuple[Image.Image, str]


class Colours:
    """An encoder without a network: mean and deviation of each colour in a patch, and how much of it is dark."""

    def embed(self, batch: Any, /) -> list[Embedding]:
        """An embedding for each patch."""
        found = []
        for inputs in batch:
            pixels = np.asarray(inputs["image"].array, np.float32) / 255
            dark = (pixels[..., 1] < 0.25).mean()
            found.append(Embedding(vector=np.array([*pixels.mean((0, 1)), *pixels.std((0, 1)), dark], np.float32)))
        return found


def patches_of_a_slide(folder: Path) -> Made:
    """The patches that an encoder is given."""
    slide: Any = omlab.read(SLIDE)
    found = tissue(slide)
    grid = patches(slide, mpp=0.5, patch=256, overlap=0, tissue=found, least_share=0.5)
    drawn = sheet_picture(slide, tissue=found, patches=grid, canvas=(720, 540))
    return Image.open(io.BytesIO(drawn)).convert("RGB"), (
        f"The {len(grid.coords)} patches of 256 pixels at 0.5 µm that are features in a bag, on a slide stained with "
        f"haematoxylin and eosin (CMU-1, OpenSlide's test data): omlab slide look"
    )


def heat(model: str, folder: Path) -> Made:
    """Where a slide model looks, on a drawn slide whose answer lies at a known place."""
    data = _bags(folder / "bags")
    mine = folder / model
    omlab.adapt(model, data, recipe="mil", output=mine, settings=TRAINING, device="cpu")
    number = len(SIDES) - 1
    bag: Any = omlab.read(folder / "bags" / f"s{number}.bag.zarr")
    found: Any = omlab.load_model(mine, device="cpu").explain(bag, target="tumour")
    drawing = _slide(number)
    over = Image.open(io.BytesIO(found.overlay({"slide": held(drawing)}))).convert("RGB")
    return beside(Image.fromarray(drawing), over, names=("a drawn slide", "where the model looks"), height=HEIGHT), (
        "A drawn slide with a cluster of dark nuclei, which makes it a tumour, and the heat map of a network trained "
        f"on {SIDES.count('train')} others by their classes alone, with colours of patches as features"
    )


def _slide(number: int) -> np.ndarray:
    draws = np.random.default_rng(number)
    x, y = draws.choice([0.25, 0.75]) + draws.uniform(-0.04, 0.04), 0.55 + draws.uniform(-0.06, 0.06)
    plant = (float(x), float(y), RADIUS) if number % 2 else None
    return draw_slide(SIZE, seed=number, plant=plant)


def _bags(folder: Path) -> str:
    """The name of the data set of drawn slides' bags, made where they are not there."""
    table = folder / "slides.csv"
    if not table.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        encoder = SlideEncoder(Colours(), settings=GRID)
        rows = ["id,bag,target,group,split"]
        for number, side in enumerate(SIDES):
            [bag] = encoder.embed([encoder.prepare("embed", {"slide": held(_slide(number))})])
            omlab.write(bag.loaded(), folder / f"s{number}.bag.zarr")
            rows.append(f"s{number},s{number}.bag.zarr,{('normal', 'tumour')[number % 2]},p{number},{side}")
        table.write_text("\n".join(rows), encoding="utf-8")
    return f"cases:{table}"

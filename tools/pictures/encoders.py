"""Pictures of models for images: what small networks tell of drawn pictures that they have not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

import omlab
from omlab_payloads.pictures.words import BACKGROUND, INK, font
from tools.pictures.drawing import beside
from tools.pictures.volumes import HEIGHT, curve_of

SIDE = 96
COLUMNS, LINE = 5, 22
RIGHT, WRONG = "#59a14f", "#e15759"
CASES = {"train": 24, "val": 4, "test": 5}
"""Of each class."""

Made = tuple[Image.Image, str]


def tissue(number: int, draws: np.random.Generator) -> Image.Image:
    """Nuclei of stained tissue: in rings around glands, in sheets, or few and along fibres."""
    picture = Image.new("RGB", (SIDE, SIDE), (232, 186, 212))
    brush, angle = ImageDraw.Draw(picture), draws.uniform(0, np.pi)
    if number == 0:
        for x, y in draws.uniform(15, SIDE - 15, (3, 2)):
            brush.ellipse((x - 18, y - 18, x + 18, y + 18), fill=(214, 150, 190))
            brush.ellipse((x - 9, y - 9, x + 9, y + 9), fill=(250, 244, 248))
            for turn in np.linspace(0, 2 * np.pi, 12):
                _nucleus(brush, x + 14 * np.cos(turn), y + 14 * np.sin(turn), draws)
    if number == 1:
        for x, y in draws.uniform(0, SIDE, (90, 2)):
            _nucleus(brush, x, y, draws)
    if number == 2:
        for shift in np.arange(-SIDE, SIDE, 7) + draws.uniform(0, 7):
            along, aside = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
            ends = [SIDE / 2 + shift * aside + way * SIDE * along for way in (-1, 1)]
            brush.line([tuple(end) for end in ends], fill=(214, 140, 184), width=3)
        for x, y in draws.uniform(0, SIDE, (6, 2)):
            _nucleus(brush, x, y, draws)
    noise = draws.normal(0, 6, (SIDE, SIDE, 3)) + draws.normal(0, 5, 3)
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))


def fundus(number: int, draws: np.random.Generator) -> Image.Image:
    """A disc with a bright optic disc and, the more severe, the more bright spots."""
    picture = Image.new("RGB", (SIDE, SIDE))
    brush = ImageDraw.Draw(picture)
    brush.ellipse((4, 4, SIDE - 4, SIDE - 4), fill=(int(draws.integers(150, 190)), int(draws.integers(55, 85)), 40))
    brush.ellipse((66, 40, 80, 56), fill=(240, 190, 110))
    for x, y in draws.integers(18, 62, (9 * number, 2)):
        brush.ellipse((x, y, x + 6, y + 6), fill=(250, 230, 80))
    return picture


@dataclass(frozen=True, kw_only=True)
class Drawings:
    """Classes of pictures: `draw` makes one of a class by its number; `about` says what they show."""

    draw: Callable[[int, np.random.Generator], Image.Image]
    classes: tuple[str, ...]
    about: str


TISSUE = Drawings(draw=tissue, classes=("glands", "sheets", "stroma"), about="stained tissue")
FUNDUS = Drawings(draw=fundus, classes=("no spots", "some spots", "many spots"), about="fundus photographs")


def told(model: str, folder: Path, *, drawings: Drawings, settings: Mapping[str, Any]) -> Made:
    """What an adapted model says of pictures that it has not seen, framed by whether it is right."""
    data, mine = _cases(folder / drawings.draw.__name__, drawings), folder / model.partition(".")[0]
    omlab.adapt(model, data, recipe="classification", output=mine, settings=settings, device="cpu")
    session, cells, right = omlab.load_model(mine, device="cpu"), [], 0
    for case in omlab.load_dataset(data).cases("test"):
        sample: Any = case.load()
        answer: Any = session.predict(sample.inputs["image"])
        [said], [truth] = answer.predicted, sample.target.predicted
        right += said == truth
        picture = Image.fromarray(sample.inputs["image"].array)
        cells.append(_cell(picture, said, colour=RIGHT if said == truth else WRONG))
    return beside(_sheet(cells), curve_of(mine), height=HEIGHT), (
        f"Drawn {drawings.about} that it has not seen, a row a class, and what a small network of this form says of "
        f"them: green where it is right ({right} of {len(cells)}), red where not; and its loss. It was trained for a "
        f"short time on {CASES['train'] * len(drawings.classes)} others. Not the published weights, and no patient"
    )


def _cases(folder: Path, drawings: Drawings) -> str:
    """The name of the data set of drawn pictures, made where they are not there."""
    table = folder / "cases.csv"
    if not table.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        rows = ["id,image,target,split"]
        for number, name in enumerate(drawings.classes):
            for place, split in enumerate(_splits()):
                one = f"{number}-{place:02d}"
                drawings.draw(number, np.random.default_rng([number, place])).save(folder / f"{one}.png")
                rows.append(f"{one},{one}.png,{name},{split}")
        table.write_text("\n".join(rows), encoding="utf-8")
    return f"cases:{table}"


def _splits() -> Iterator[str]:
    for split, count in CASES.items():
        yield from [split] * count


def _nucleus(brush: ImageDraw.ImageDraw, x: float, y: float, draws: np.random.Generator) -> None:
    size = draws.uniform(2.5, 4)
    brush.ellipse((x - size, y - size, x + size, y + size), fill=(96, 52, int(draws.integers(120, 150))))


def _cell(picture: Image.Image, words: str, *, colour: str) -> Image.Image:
    """A picture in a frame with words below it."""
    made = Image.new("RGB", (SIDE + 6, SIDE + LINE + 6), BACKGROUND)
    brush = ImageDraw.Draw(made)
    brush.rectangle((0, 0, SIDE + 5, SIDE + 5), fill=colour)
    made.paste(picture, (3, 3))
    brush.text((made.width / 2, SIDE + 6 + LINE / 2), words, font=font(14), fill=INK, anchor="mm")
    return made


def _sheet(cells: list[Image.Image]) -> Image.Image:
    """Rows of `COLUMNS` cells."""
    wide, high = cells[0].width + 8, cells[0].height
    made = Image.new("RGB", (COLUMNS * wide, -(-len(cells) // COLUMNS) * high), BACKGROUND)
    for number, cell in enumerate(cells):
        made.paste(cell, (number % COLUMNS * wide, number // COLUMNS * high))
    return made

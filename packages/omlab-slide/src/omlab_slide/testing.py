"""Slides for tests: drawn, the same each time; written as a pyramid, with pen, a plant and corrupt tiles where asked.

drawing = draw_slide((2048, 1536), seed=3, pen=True, plant=(0.3, 0.4, 0.1))
path = write_pyramid(tmp_path / "case.tiff", drawing, mpp=0.5, corrupt=[(0, 3, 2)])
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omlab_slide.bag import Bag
from omlab_slide.heat import HeatMap
from omlab_slide.readers.with_pillow import ArrayReader
from omlab_slide.slide import Slide

Pixels = NDArray[np.uint8]

BACKGROUND = (242, 241, 243)
EOSIN = (214, 150, 190)
NUCLEI = (120, 70, 150)
PEN = (30, 90, 200)
PLANT = (90, 40, 120)
"""Colours: of the glass, the tissue, its nuclei, a pen, and of what a model is to find."""
_TILE = 256


def draw_slide(
    size: tuple[int, int],
    *,
    seed: int = 0,
    blobs: int = 2,
    pen: bool = False,
    plant: tuple[float, float, float] | None = None,
) -> Pixels:
    """A slide (h, w, 3): glass, `blobs` pieces of tissue with nuclei, a pen's line, a plant.

    Args:
        size: Width and height.
        seed: Of where the tissue lies and how it is textured.
        blobs: Pieces of tissue, side by side.
        pen: Whether a blue line is drawn over the glass, near the top.
        plant: Centre (x, y) and radius of a region full of dark nuclei, in shares of width, height and height.
    """
    return _drawn(size, seed, blobs, pen, plant).copy()


@lru_cache(maxsize=32)  # the kit asks for its examples hundreds of times
def _drawn(size: tuple[int, int], seed: int, blobs: int, pen: bool, plant: tuple[float, float, float] | None) -> Pixels:
    width, height = size
    draws = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    pixels = np.empty((height, width, 3), np.float32)
    pixels[:] = BACKGROUND
    for number in range(blobs):
        middle = ((number + 0.5) / blobs + draws.uniform(-0.05, 0.05) / blobs, draws.uniform(0.5, 0.6))
        a, b = 0.4 * width / blobs, draws.uniform(0.28, 0.36) * height
        far = ((x - middle[0] * width) / a) ** 2 + ((y - middle[1] * height) / b) ** 2
        wave = 0.08 * np.sin(6 * np.arctan2(y - middle[1] * height, x - middle[0] * width))
        pixels[far < 1 + wave] = EOSIN
    is_tissue = pixels[..., 1] == EOSIN[1]
    coarse = draws.random((height // 4 + 1, width // 4 + 1)) < 0.12
    is_nucleus = np.kron(coarse, np.ones((4, 4), bool))[:height, :width]
    pixels[is_tissue & is_nucleus] = NUCLEI
    if plant is not None:
        near = (x - plant[0] * width) ** 2 + (y - plant[1] * height) ** 2 < (plant[2] * height) ** 2
        checked = ((x // 3 + y // 3) % 3 > 0) & near
        pixels[checked] = PLANT
    if pen:
        line = np.abs(y - 0.08 * height - 0.02 * height * np.sin(9 * x / width)) < max(2, 0.02 * height)
        pixels[line & (x > 0.1 * width) & (x < 0.7 * width)] = PEN
    pixels += draws.normal(0, 1.5, (height, width, 1)).astype(np.float32)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def write_pyramid(
    path: Path,
    drawing: Pixels | None = None,
    *,
    levels: int = 3,
    mpp: float | None = 0.5,
    factor: int = 4,
    compression: str = "deflate",
    corrupt: Sequence[tuple[int, int, int]] = (),
    aperio: bool = False,
    sub_ifds: bool = False,
) -> Path:
    """Write a pyramid of tiles of 256 as TIFF, which OpenSlide and tiffslide open.

    Args:
        path: Ends with `.tiff` or `.svs`.
        drawing: Level 0; by default `draw_slide((2048, 1536))`.
        levels: How many.
        mpp: Micrometres a pixel at level 0; None: the file does not say it.
        factor: How much coarser each level is than the one before.
        compression: As tifffile names it.
        corrupt: Tiles (level, column, row) whose bytes are overwritten.
        aperio: With the description of an Aperio file, which says mpp and magnification.
        sub_ifds: Levels as sub-images of the first, as OME-TIFF has them: OpenSlide sees none of them.
    """
    import tifffile

    level = draw_slide((2048, 1536)) if drawing is None else drawing
    description = f"Aperio Image Library v11\n|AppMag = 20|MPP = {mpp}" if aperio and mpp else None
    with tifffile.TiffWriter(path, bigtiff=False) as file:
        for number in range(levels):
            if number:
                level = _coarser(level, factor)
            resolution = None if mpp is None else (1e4 / (mpp * factor**number),) * 2
            file.write(
                level,
                tile=(_TILE, _TILE),
                photometric="rgb",
                compression=compression,
                metadata=None,
                subfiletype=1 if number else 0,
                subifds=levels - 1 if sub_ifds and not number else None,
                description=description if not number else None,
                resolution=resolution,
                resolutionunit="CENTIMETER" if resolution else None,
                software=False,
            )
    if corrupt:
        _spoil(path, corrupt)
    return path


def write_annotation(path: Path, size: tuple[int, int], plant: tuple[float, float, float]) -> Path:
    """Write the outline of a drawn slide's plant as GeoJSON, as QuPath exports an annotation; `draw_slide` has both."""
    turns = np.linspace(0, 2 * np.pi, 65)
    middle = np.array([plant[0] * size[0], plant[1] * size[1]])
    ring = middle + plant[2] * size[1] * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring.tolist()]},
        "properties": {"objectType": "annotation", "classification": {"name": "plant"}},
    }
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    return path


def _spoil(path: Path, tiles: Sequence[tuple[int, int, int]]) -> None:
    import tifffile

    places = []
    with tifffile.TiffFile(path) as file:
        for level, column, row in tiles:
            page = file.pages[level]
            assert isinstance(page, tifffile.TiffPage)
            number = row * -(-page.imagewidth // _TILE) + column
            places.append((page.dataoffsets[number], page.databytecounts[number]))
    with path.open("r+b") as stream:
        for offset, count in places:
            stream.seek(offset)
            stream.write(b"\x55" * count)


def _coarser(pixels: Pixels, factor: int) -> Pixels:
    height, width = (side // factor * factor for side in pixels.shape[:2])
    blocks = pixels[:height, :width].reshape(height // factor, factor, width // factor, factor, 3)
    coarse: Pixels = np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
    return coarse


@dataclass(frozen=True)
class Held:
    """Opens levels that are in memory (`omlab_slide.readers.reader.Opener`)."""

    arrays: tuple[Pixels, ...]

    def __call__(self) -> ArrayReader:
        """The levels."""
        return ArrayReader(self.arrays)


def held(drawing: Pixels, *, mpp: float | None = 0.5, levels: int = 2, factor: int = 4) -> Slide:
    """A slide in memory of what was drawn."""
    arrays = [drawing]
    while len(arrays) < levels:
        arrays.append(_coarser(arrays[-1], factor))
    opener = Held(tuple(arrays))
    return Slide(opener=opener, levels=tuple(opener().levels), mpp=mpp, name="a drawn slide")


def example_slides() -> list[Slide]:
    """A slide with two pieces of tissue, one with a pen's line, one of one level."""
    return [
        held(draw_slide((1024, 768), seed=1)),
        held(draw_slide((900, 700), seed=2, pen=True), mpp=0.46),
        held(draw_slide((640, 512), seed=3, blobs=1), mpp=1.0, levels=1),
    ]


def odd_slides() -> dict[str, Slide]:
    """Slides without a scale, without tissue, all tissue, black, smaller than a patch."""
    glass = draw_slide((600, 500), blobs=0)
    return {
        "without-mpp": held(draw_slide((600, 500)), mpp=None),
        "without-tissue": held(glass),
        "all-tissue": held(np.broadcast_to(np.array(EOSIN, np.uint8), (500, 600, 3)).copy()),
        "black": held(np.zeros((500, 600, 3), np.uint8)),
        "tiny": held(draw_slide((40, 30), blobs=1), levels=1),
    }


def example_bags() -> list[Bag]:
    """Features of some patches of `example_slides`: eight numbers a patch."""
    return [_bag(slide, seed=number) for number, slide in enumerate(example_slides())]


def _bag(slide: Slide, *, seed: int) -> Bag:
    width, height = slide.dimensions
    corners = [(x, y) for y in range(0, height - 128, 128) for x in range(0, width - 128, 128)]
    draws = np.random.default_rng(seed)
    return Bag(
        features=draws.normal(size=(len(corners), 8)).astype(np.float32),
        coords=np.array(corners, np.int32),
        share=draws.random(len(corners)).astype(np.float16),
        size0=128,
        dimensions=slide.dimensions,
        mpp=slide.mpp,
        encoder={"model": "example"},
    )


def example_heat_maps() -> list[HeatMap]:
    """Scores of the patches of `example_bags`."""
    return [
        HeatMap(
            scores=np.random.default_rng(number).random(len(bag.coords)).astype(np.float32),
            coords=bag.coords,
            size0=bag.size0,
            dimensions=bag.dimensions,
            mpp=bag.mpp,
            name="attention",
        )
        for number, bag in enumerate(example_bags())
    ]

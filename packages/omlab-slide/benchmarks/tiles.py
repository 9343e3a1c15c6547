"""Tiles a second of a slide: ours in threads, beside a bare loop over OpenSlide and a torch DataLoader over it.

    python benchmarks/tiles.py                      # a drawn pyramid, JPEG; appends rows to results.csv
    python benchmarks/tiles.py --slide case.svs     # another slide, read at `--mpp`

Each way reads the same patches, 256 pixels at 0.5 micrometres: from a slide of 0.5 as they stand (`native`), and from
one of 0.25, where they are made coarser (`coarser`). Tiles a second are of the clock; those of processor time, which
other processes take less from, are those of all threads and workers together. `load` is how many processes wanted the
cores when the run began: rows of a busy machine say so. The ways take turns, `--rounds` times; figures are medians.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import platform
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import openslide
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from omlab_slide.grid import Patches, patches
from omlab_slide.slide import open_slide
from omlab_slide.testing import draw_slide, write_pyramid
from omlab_slide.tiles import tiles

RESULTS = Path(__file__).with_name("results.csv")
BATCH = 64
LOOP, LOADER, OURS = "bare loop over OpenSlide", "torch DataLoader over OpenSlide", "omlab_slide.tiles"
PROGRAMME = Callable[[Path, Patches, int], int]


def read_one(slide: openslide.OpenSlide, x: int, y: int, grid: Patches) -> NDArray[np.uint8]:
    """What anybody would write: the level below, then a resize."""
    level = slide.get_best_level_for_downsample(grid.downsample + 0.01)
    side = round(grid.size * grid.downsample / slide.level_downsamples[level])
    tile = slide.read_region((x, y), level, (side, side)).convert("RGB")
    if side != grid.size:
        tile = tile.resize((grid.size, grid.size), Image.Resampling.BOX)
    return np.asarray(tile)


def by_loop(path: Path, grid: Patches, workers: int) -> int:
    slide, count = openslide.OpenSlide(path), 0
    for first in range(0, len(grid), BATCH):
        rows = grid.coords[first : first + BATCH].tolist()
        count += len(np.stack([read_one(slide, x, y, grid) for x, y in rows]))
    return count


class Tiles(Dataset[torch.Tensor]):
    """Each worker opens the slide when it is first asked."""

    def __init__(self, path: Path, grid: Patches) -> None:
        self.path, self.grid = path, grid
        self.slide: openslide.OpenSlide | None = None

    def __len__(self) -> int:
        return len(self.grid)

    def __getitem__(self, index: int) -> torch.Tensor:
        if self.slide is None:
            self.slide = openslide.OpenSlide(self.path)
        x, y = (int(value) for value in self.grid.coords[index])
        return torch.from_numpy(read_one(self.slide, x, y, self.grid).copy())


def by_loader(path: Path, grid: Patches, workers: int) -> int:
    return sum(len(batch) for batch in DataLoader(Tiles(path, grid), batch_size=BATCH, num_workers=workers))


def by_ours(path: Path, grid: Patches, workers: int) -> int:
    return sum(len(batch) for batch in tiles(open_slide(path), grid, batch=BATCH, workers=workers))


WAYS: dict[str, PROGRAMME] = {LOOP: by_loop, LOADER: by_loader, OURS: by_ours}


class Took(NamedTuple):
    """Seconds of the clock, and of processors."""

    clock: float
    processor: float


def now() -> Took:
    spent = os.times()  # of this process and of workers that have ended
    return Took(time.perf_counter(), sum(spent[:4]))


def measured(path: Path, grid: Patches, *, workers: int, rounds: int) -> dict[str, list[Took]]:
    found: dict[str, list[Took]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, programme in WAYS.items():
            start = now()
            assert programme(path, grid, workers) == len(grid)
            found[way].append(Took(*(end - begin for end, begin in zip(now(), start, strict=True))))
    return found


def median(rows: list[Took]) -> Took:
    return Took(*(statistics.median(column) for column in zip(*rows, strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slide", type=Path)
    parser.add_argument("--mpp", type=float, default=0.5)
    parser.add_argument("--side", type=int, default=6144)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cases: dict[str, tuple[Path, float]] = {}
        if given.slide is not None:
            cases[given.slide.name] = (given.slide, given.mpp)
        else:
            drawing = draw_slide((given.side, given.side), seed=1)
            for name, mpp in (("native", 0.5), ("coarser", 0.25)):
                path = write_pyramid(Path(folder) / f"{name}.tiff", drawing, mpp=mpp, compression="jpeg")
                cases[name] = (path, 0.5)
        rows = [row for name, (path, mpp) in cases.items() for row in rows_of(name, path, mpp=mpp, given=given)]
    write(rows)


def rows_of(name: str, path: Path, *, mpp: float, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    load = os.getloadavg()[0]
    grid = patches(open_slide(path), mpp=mpp, patch=256)
    found = measured(path, grid, workers=given.workers, rounds=given.rounds)
    loop = median(found[LOOP])
    for way, rows in found.items():
        took, clocks = median(rows), [row.clock for row in rows]
        each = len(grid) / took.clock, len(grid) / took.processor
        print(f"{name:10} {way:34} {each[0]:8.1f} tiles/s {each[1]:8.1f} tiles/s of a processor", flush=True)
        yield {
            "benchmark": "tiles",
            "case": name,
            "way": way,
            "tiles": len(grid),
            "workers": 1 if way == LOOP else given.workers,
            "tiles_per_s": round(each[0], 1),
            "slowest": round(len(grid) / max(clocks), 1),
            "fastest": round(len(grid) / min(clocks), 1),
            "to_loop": round(loop.clock / took.clock, 2),
            "tiles_per_cpu_s": round(each[1], 1),
            "to_loop_cpu": round(loop.processor / took.processor, 2),
            "load": round(load, 1),
        }


def write(rows: list[dict[str, Any]]) -> None:
    run = secrets.token_hex(4)
    about = {
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "openslide": openslide.__library_version__,
        "date": datetime.date.today().isoformat(),
        "run": run,
    }
    is_new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, [*rows[0], *about])
        if is_new:
            writer.writeheader()
        writer.writerows({**row, **about} for row in rows)


if __name__ == "__main__":
    main()

"""Memory and time of encoding slides of ever more patches, with an encoder that costs nothing.

    python benchmarks/encoding.py 1000 10000 100000

A row a number of patches: seconds, patches a second, and the most memory that the process had above what it had before
(Linux: /proc). Each is done in a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import omlab
from omlab.payloads import Inputs
from omlab_payloads.embedding import Embedding
from omlab_slide.encoding import SlideEncoder
from omlab_slide.testing import EOSIN, held

WIDTH = 768
PATCH = 32
SETTINGS = {"mpp": 4.0, "patch": PATCH, "overlap": 0, "least_share": 0.5, "tissue": "saturation"}


class Toy:
    """As many numbers as a ViT-B gives, of the mean colour."""

    def __init__(self) -> None:
        self.matrix = np.random.default_rng(0).normal(size=(3, WIDTH)).astype(np.float32)

    def prepare(self, verb: str, inputs: Inputs, /) -> Any:
        """The mean colour."""
        image: Any = inputs["image"]
        return image.array.mean(axis=(0, 1), dtype=np.float32)

    def embed(self, batch: Sequence[Any], /) -> Iterator[Embedding]:
        """A vector for each."""
        for vector in np.stack(batch) @ self.matrix:
            yield Embedding(vector=vector)


def memory() -> float:
    """MiB that this process holds now, without what it shares with files."""
    fields = Path("/proc/self/status").read_text().split("RssAnon:")[1].split()
    return int(fields[0]) / 1024


def measure(count: int) -> None:
    """Encode a slide of so many patches, and print a row."""
    side = PATCH * int(np.ceil(np.sqrt(count)))
    drawing = np.broadcast_to(np.array(EOSIN, np.uint8), (side, side, 3))
    slide = held(np.ascontiguousarray(drawing), mpp=4.0, levels=1)
    encoder = SlideEncoder(Toy(), settings=SETTINGS, batch=64)
    [bag] = encoder.embed([encoder.prepare("embed", {"slide": slide})])
    before, most, done = memory(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            most[0] = max(most[0], memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        omlab.write(bag, Path(folder) / "a.bag.zarr")
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    features = len(bag) * WIDTH * 4 / 2**20
    print(
        f"| {len(bag):,} | {features:,.0f} | {most[0] - before:,.0f} | {seconds:.1f} | {len(bag) / seconds:,.0f} |",
        flush=True,
    )


def main() -> None:
    """A table over the numbers of patches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", nargs="+", type=int)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        measure(given.counts[0])
        return
    print("| patches | MiB of features | MiB more while encoding | seconds | patches a second |\n|---|---|---|---|---|")
    for count in given.counts:
        subprocess.run([sys.executable, "-W", "ignore", __file__, str(count), "--alone"], check=True)


if __name__ == "__main__":
    main()

"""How many bytes of scores a sliding window keeps at most, by counting its cells: nothing is allocated.

python benchmarks/memory.py --size 600 512 512 --patch 128 128 128 --classes 105
"""

from __future__ import annotations

import argparse
import itertools
import math

import torch

from omlab_volume.inference.sliding_window import SlidingWindow, _Run


def most_alive(size: list[int], patch: list[int], classes: int, *, sum_type: torch.dtype) -> int:
    """The highest sum of the cells' bytes between their first and their last window."""
    how = SlidingWindow(patch_size=(patch[0], patch[1], patch[2]), classes=classes, mirror=False)
    run = _Run(how, lambda windows: windows, torch.empty(1).expand(1, *size))
    alive: dict[tuple[int, ...], int] = {}
    most = 0
    for place in itertools.product(*(range(len(starts)) for starts in run.starts)):
        spans = [[cell for cell, _ in run._spans(axis, index)] for axis, index in enumerate(place)]
        for cell in itertools.product(*spans):
            edges = [run.edges[axis] for axis in range(3)]
            voxels = math.prod(edges[axis][at + 1] - edges[axis][at] for axis, at in enumerate(cell))
            alive.setdefault(cell, classes * voxels * sum_type.itemsize)
        most = max(most, sum(alive.values()))
        for cell in itertools.product(*(run._ending(axis, index) for axis, index in enumerate(place))):
            del alive[cell]
    return most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=[600, 512, 512])
    parser.add_argument("--patch", type=int, nargs=3, default=[128, 128, 128])
    parser.add_argument("--classes", type=int, default=105)
    options = parser.parse_args()
    for kind in (torch.float32, torch.float16):
        found = most_alive(options.size, options.patch, options.classes, sum_type=kind)
        print(f"{options.size} in windows of {options.patch}, {options.classes} classes, {kind}: {found / 1e9:.2f} GB")


if __name__ == "__main__":
    main()

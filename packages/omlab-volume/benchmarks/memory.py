"""How many bytes of scores a sliding window keeps at most, by counting its cells: nothing is allocated.

python benchmarks/memory.py --size 600 512 512 --patch 128 128 128 --classes 105
python benchmarks/memory.py --size 150 128 128 --patch 32 32 32 --measure       # bytes held in a run, and the agreement
"""

from __future__ import annotations

import argparse
import itertools
import math

import torch

from omlab_volume.inference import sliding_window
from omlab_volume.inference.sliding_window import SlidingWindow, _Run


def most_alive(size: list[int], patch: list[int], classes: int, *, sum_type: torch.dtype | None) -> int:
    """The highest sum of the cells' bytes between their first and their last window."""
    how = SlidingWindow(patch_size=(patch[0], patch[1], patch[2]), classes=classes, mirror=False, sum_type=sum_type)
    run = _Run(how, lambda windows: windows, torch.empty(1).expand(1, *size))
    alive: dict[tuple[int, ...], int] = {}
    most = 0
    for place in itertools.product(*(range(len(starts)) for starts in run.lattice.starts)):
        spans = [[cell for cell, _ in run.lattice.spans(axis, index)] for axis, index in enumerate(place)]
        for cell in itertools.product(*spans):
            voxels = math.prod(run.lattice.extent(cell))
            alive[cell] = classes * voxels * run.sum_type.itemsize
        most = max(most, sum(alive.values()))
        for cell in itertools.product(*(run.lattice.ending(axis, index) for axis, index in enumerate(place))):
            del alive[cell]
        for cell in run.waiting(place):
            alive[cell] //= run.sum_type.itemsize
    return most


def measure(size: list[int], patch: list[int], classes: int) -> None:
    """Print what a run on smooth random scores holds at most, with memory kept for later, and how labels agree."""
    sliding_window.WORTH = 0
    torch.manual_seed(0)
    coarse = torch.randn(1, classes, *(max(2, n // 8) for n in patch))
    smooth = 4 * torch.nn.functional.interpolate(coarse, size=patch, mode="trilinear")

    def network(windows: torch.Tensor) -> torch.Tensor:
        return smooth * (1 + windows)  # as likely as labels of a network: sure inside, unsure between

    image = torch.rand(1, *size) / 4
    labels = []
    for kind in (torch.float32, torch.float16):
        how = SlidingWindow(patch_size=(patch[0], patch[1], patch[2]), classes=classes, mirror=False, sum_type=kind)
        run = _Run(how, network, image)
        most, result = 0, torch.empty(size, dtype=torch.uint8)
        for cell in run.cells():
            sums = [*run.sums.values(), *run.spare, *(one.values for one in run.asleep.values())]
            most = max(most, sum(one.nbytes for one in sums))
            with torch.inference_mode():
                result[cell.z, cell.y, cell.x] = cell.mean().argmax(0).to(torch.uint8)
        labels.append(result)
        expected = most_alive(size, patch, classes, sum_type=kind)
        print(f"{kind}: held {most / 1e9:.3f} GB at most, {expected / 1e9:.3f} GB by arithmetic")
    print(f"labels that differ: {(labels[0] != labels[1]).float().mean():.5%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=[600, 512, 512])
    parser.add_argument("--patch", type=int, nargs=3, default=[128, 128, 128])
    parser.add_argument("--classes", type=int, default=105)
    parser.add_argument("--measure", action="store_true")
    options = parser.parse_args()
    if options.measure:
        measure(options.size, options.patch, options.classes)
        return
    for kind in (torch.float32, torch.float16, None):
        found = most_alive(options.size, options.patch, options.classes, sum_type=kind)
        told = kind or "by default"
        print(f"{options.size} in windows of {options.patch}, {options.classes} classes, {told}: {found / 1e9:.2f} GB")


if __name__ == "__main__":
    main()

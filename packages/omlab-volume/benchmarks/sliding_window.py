"""Labels by sliding window: ours against MONAI's `sliding_window_inference` and argmax.

    python benchmarks/sliding_window.py [--classes 2 14 105] [--size 192 160 160] [--threads 1]
    python benchmarks/sliding_window.py --ways network omlab --classes 105 --size 300 300 300 --patch 128 128 128

The same network, volume, windows and thread count. Each way runs in a process of its own (peak resident
memory), the two ways alternating. The network is kept small on purpose: the blending is what is compared.
Without mirroring, one window at a time. MONAI blends what its predictor gives: logits, or their softmax. Its Gaussian
is centred half a voxel elsewhere, so labels are not compared here (the tests do that against the definition).
The way `network` runs the network over as many windows and keeps nothing: what is above it is ours.
Needs the dependency group `bench`.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import math
import sys
import time
from typing import Any

import record
import torch
from torch import Tensor, nn


class SmallNet(nn.Module):
    """Two levels of convolutions and a head of K classes."""

    def __init__(self, classes: int, width: int = 16) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv3d(1, width, 3, stride=2, padding=1), nn.InstanceNorm3d(width), nn.LeakyReLU(0.01)
        )
        self.deep = nn.Sequential(nn.Conv3d(width, width, 3, padding=1), nn.InstanceNorm3d(width), nn.LeakyReLU(0.01))
        self.full = nn.Sequential(nn.Conv3d(1, width, 3, padding=1), nn.LeakyReLU(0.01))
        self.head = nn.Conv3d(width, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        deep = nn.functional.interpolate(self.deep(self.down(image)), scale_factor=2)
        return self.head(self.full(image) + deep)


def run(way: str, *, network: nn.Module, image: Tensor, classes: int, patch: list[int], combine: str) -> Tensor:
    if way == "omlab":
        from omlab_volume.inference.export import predict_labels

        return torch.from_numpy(
            predict_labels(network, image[0], patch_size=patch, classes=classes, mirror=False, combine=combine)
        )
    if way == "network":
        return network_alone(network, image, patch)
    from monai.inferers import sliding_window_inference

    predictor = network if combine == "logits" else lambda windows: network(windows).softmax(1)
    with torch.inference_mode():
        scores = sliding_window_inference(image, patch, 1, predictor, overlap=0.5, mode="gaussian", sigma_scale=0.125)
        return scores.argmax(1)[0].to(torch.uint8)


def network_alone(network: nn.Module, image: Tensor, patch: list[int]) -> Tensor:
    steps = [math.ceil((size - edge) / (edge / 2)) + 1 for size, edge in zip(image.shape[2:], patch, strict=True)]
    window = image[:, :, : patch[0], : patch[1], : patch[2]].contiguous()
    with torch.inference_mode():
        for _ in range(math.prod(steps)):
            network(window)
    return torch.empty(image.shape[2:])


def measure(arguments: dict[str, Any]) -> None:
    # Imported here so that it is part of the base, not of what is timed.
    importlib.import_module("monai.inferers" if arguments["way"] == "monai" else "omlab_volume.inference.export")
    torch.manual_seed(0)
    network = SmallNet(arguments["classes"]).eval()
    image = torch.randn(1, 1, *arguments["size"])
    with torch.inference_mode():
        network(image[:, :, :16, :16, :16])
    base = record.memory_mib()
    seconds, cpu = [], []
    for _ in range(arguments["repeats"]):
        began, used = time.perf_counter(), time.process_time()
        labels = run(
            arguments["way"], network=network, image=image,
            **{key: arguments[key] for key in ("classes", "patch", "combine")},
        )  # fmt: skip
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    assert labels.shape == image.shape[2:]
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak": record.memory_mib(), "base": base}))


def compare(options: argparse.Namespace, classes: int, combine: str) -> list[dict[str, Any]]:
    arguments = {
        "classes": classes, "combine": combine, "size": options.size, "patch": options.patch,
        "repeats": options.repeats,
    }  # fmt: skip
    found = record.alternate(__file__, options.ways, arguments, rounds=options.rounds, threads=options.threads)
    return [
        {
            "benchmark": "sliding_window", "way": way, "classes": classes, "combine": combine, "batch": 1,
            "size": "x".join(map(str, options.size)), "patch": "x".join(map(str, options.patch)),
            **row, "monai": importlib.metadata.version("monai"),
        }
        for way, row in record.compared(found, against=options.ways[0]).items()
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 14, 105])
    parser.add_argument("--combine", nargs="+", default=["logits", "probabilities"])
    parser.add_argument("--size", type=int, nargs=3, default=[192, 160, 160])
    parser.add_argument("--patch", type=int, nargs=3, default=[64, 64, 64])
    parser.add_argument("--ways", nargs="+", default=["monai", "omlab"], help="the first is what ratios are against")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.child:
        measure(json.loads(options.child))
        return
    for classes in options.classes:
        for combine in options.combine:
            record.append(compare(options, classes, combine), threads=options.threads)


if __name__ == "__main__":
    sys.exit(main())

"""Labels on the original grid from scores: in chunks, against the way with a volume for each class.

    python benchmarks/resample_back.py [--classes 2 14 105] [--size 112 112 112] [--output 208 208 208]

The class-volume way resamples every class to the output grid (trilinear, PyTorch) and takes the argmax. Both
start from the same scores; `added_ratio` compares the memory that each needs beyond them, `differing` is the
largest gap between the two best scores where the labels differ (a tie up to rounding), and how many do.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from typing import Any

import numpy as np
import record
import torch
from torch import Tensor


def class_volumes(scores: Tensor, shape: list[int]) -> Tensor:
    return torch.nn.functional.interpolate(scores[None], shape, mode="trilinear", align_corners=False)[0]


def run(way: str, scores: Tensor, shape: list[int]) -> np.ndarray:
    if way == "omlab":
        from omlab_volume.inference.export import labels_from_scores

        return labels_from_scores(scores, shape)
    return class_volumes(scores, shape).argmax(0).to(torch.uint8).numpy()


def make_scores(arguments: dict[str, Any]) -> Tensor:
    scores = torch.randn(arguments["classes"], *arguments["size"], generator=torch.Generator().manual_seed(0))
    for one in scores:  # class by class, so that the base holds the scores and little else
        one.copy_(torch.nn.functional.avg_pool3d(one[None], 3, stride=1, padding=1)[0])
    return scores


def measure(arguments: dict[str, Any]) -> None:
    importlib.import_module("omlab_volume.inference.export")
    scores = make_scores(arguments)
    run(arguments["way"], scores[:, :4, :4, :4], [5, 5, 5])
    base = record.memory_mib()
    began, used = time.perf_counter(), time.process_time()
    labels = run(arguments["way"], scores, arguments["output"])
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    peak = record.memory_mib()
    result = {"seconds": [seconds], "cpu": [cpu], "peak": peak, "base": base}
    if arguments["way"] == "omlab":
        result |= differing(scores, labels, arguments["output"])
    print(json.dumps(result))


def differing(scores: Tensor, labels: np.ndarray, shape: list[int]) -> dict[str, float]:
    volumes = class_volumes(scores, shape)
    gap = volumes.amax(0) - volumes.gather(0, torch.from_numpy(labels).long()[None])[0]
    return {"gap": float(gap.max()), "differing": int((gap > 0).sum())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 14, 105])
    parser.add_argument("--size", type=int, nargs=3, default=[112, 112, 112])
    parser.add_argument("--output", type=int, nargs=3, default=[208, 208, 208])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.child:
        measure(json.loads(options.child))
        return
    for classes in options.classes:
        arguments = {"classes": classes, "size": options.size, "output": options.output}
        found = record.alternate(
            __file__, ["class_volumes", "omlab"], arguments, rounds=options.rounds, threads=options.threads
        )
        rows = record.compared(found, against="class_volumes")
        worst = f"{found['omlab']['differing']} by {found['omlab']['gap']:.1e}"
        record.append(
            [
                {
                    "benchmark": "resample_back", "way": way, "classes": classes, "differing": worst,
                    "size": "x".join(map(str, options.size)), "output": "x".join(map(str, options.output)), **row,
                }
                for way, row in rows.items()
            ],
            threads=options.threads,
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

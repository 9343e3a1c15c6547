"""Dice, surface Dice and HD95 of many classes: ours against SimpleITK on the bounding box of each class.

    python benchmarks/segmentation.py [--size 200] [--classes 103] [--rounds 2]

The reference is the nearest of random centres within a body, so that classes differ in size and touch; the prediction
is the same after a smooth displacement. SimpleITK's way is the common one: boxes and overlap from one pass over the
label maps each, then on each class's box the distance maps of both surfaces, read at the other's contour. Its HD95 is
of voxels, ours of surfels weighed by area, so the means are close, not equal; Dice is. Each way runs in a process of
its own, alternating, on one thread; `cpu_s` is the least processor time. Draws no picture.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

RESULTS = Path(__file__).with_name("results.csv")
COLUMNS = [
    "benchmark", "way", "classes", "size", "cpu_s", "cpu_ratio", "dice", "hd95", "nsd",
    "machine", "cores", "threads", "load", "python", "date",
]  # fmt: skip
SPACING = (1.5, 1.5, 1.5)
TOLERANCE = 3.0


def label_maps(size: int, classes: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    draw = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, size)] * 3, indexing="ij"), -1).astype(np.float32)
    centres = draw.uniform(-0.8, 0.8, (classes, 3))
    wave = sum(0.02 * np.sin(3 * grid[..., [n]] + np.arange(3)) for n in range(3))
    maps = []
    for moved in (grid, grid + wave):
        distance, nearest = cKDTree(centres).query(moved.reshape(-1, 3), distance_upper_bound=0.28)
        labels = np.where(np.isfinite(distance), nearest + 1, 0).astype(np.uint8)
        maps.append(np.asarray(labels.reshape(3 * (size,)), order="F"))
    return maps[0], maps[1]


def ours(reference: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> list[tuple[float, float, float]]:
    from omlab.roles import Sample
    from omlab_evaluators.segmentation.evaluator import SegmentationEvaluator
    from omlab_evaluators.segmentation.summary import Settings
    from omlab_volume.volume import LabelMap

    target, result = (LabelMap(array=array, affine=np.diag([*SPACING, 1])) for array in (reference, prediction))
    object.__setattr__(result, "overlay", lambda *_, **__: b"")  # the picture is no part of this
    sample = Sample(id="case", inputs={}, target=target, group=None, meta={})
    evaluator = SegmentationEvaluator(Settings(surface_tolerance_mm=TOLERANCE))
    rows = evaluator.measure(sample, result, Path(os.devnull).parent / "shm" / "speed")
    return [(row["dice"], row["hd95"], row["surface_dice"]) for row in rows]


def simpleitk(reference: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> list[tuple[float, float, float]]:
    import SimpleITK as sitk  # noqa: N813

    images = []
    for array in (reference, prediction):
        image = sitk.GetImageFromArray(array.T)
        image.SetSpacing(SPACING)
        images.append(image)
    overlap, shapes = sitk.LabelOverlapMeasuresImageFilter(), [sitk.LabelShapeStatisticsImageFilter() for _ in images]
    overlap.Execute(*images)
    for shape, image in zip(shapes, images, strict=True):
        shape.ComputePerimeterOff()
        shape.Execute(image)
    rows = []
    for label in shapes[0].GetLabels():
        boxes = np.array([shape.GetBoundingBox(label) for shape in shapes])
        low = np.maximum(boxes[:, :3].min(0) - 1, 0)
        high = np.minimum((boxes[:, :3] + boxes[:, 3:]).max(0) + 1, reference.shape)
        masks = [sitk.RegionOfInterest(one, (high - low).tolist(), low.tolist()) == label for one in images]
        contours = [sitk.LabelContour(mask) for mask in masks]
        maps = [
            np.abs(sitk.GetArrayViewFromImage(sitk.SignedMaurerDistanceMap(
                one, squaredDistance=False, useImageSpacing=True
            ))) for one in contours
        ]  # fmt: skip
        edges = [sitk.GetArrayViewFromImage(one) > 0 for one in contours]
        distances = np.concatenate([maps[1][edges[0]], maps[0][edges[1]]])
        rows.append((
            overlap.GetDiceCoefficient(label), float(np.percentile(distances, 95)),
            float((distances <= TOLERANCE).mean()),
        ))  # fmt: skip
    return rows


WAYS = {"SimpleITK, cropped": simpleitk, "omlab": ours}


def measure(arguments: dict[str, Any]) -> None:
    maps = label_maps(arguments["size"], arguments["classes"])
    WAYS[arguments["way"]](*(array[:20, :20, :20] for array in maps))  # what is imported is not timed
    used = time.process_time()
    rows = WAYS[arguments["way"]](*maps)
    used = time.process_time() - used
    means = np.mean(rows, axis=0)
    print(json.dumps({"cpu_s": used, "dice": means[0], "hd95": means[1], "nsd": means[2]}))


def child(arguments: dict[str, Any]) -> dict[str, Any]:
    names = ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
    done = subprocess.run(
        [sys.executable, __file__, "--child", json.dumps(arguments)],
        env={**os.environ, **dict.fromkeys(names, "1")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, default=200)
    parser.add_argument("--classes", type=int, default=103)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    if options.child:
        measure(json.loads(options.child))
        return
    found: dict[str, dict[str, Any]] = {}
    for _ in range(options.rounds):
        for way in WAYS:
            one = child({"way": way, "size": options.size, "classes": options.classes})
            found[way] = min(one, found.get(way, one), key=lambda row: row["cpu_s"])
    date = subprocess.run(["date", "-u", "+%F"], capture_output=True, text=True, check=True).stdout.strip()
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        for way, row in found.items():
            ratio = row["cpu_s"] / found["SimpleITK, cropped"]["cpu_s"]
            line = {
                "benchmark": "segmentation", "way": way, "classes": options.classes, "size": f"{options.size}^3",
                **{key: round(value, 4) for key, value in row.items()}, "cpu_ratio": round(ratio, 3),
                "machine": platform.machine(), "cores": os.cpu_count(), "threads": 1,
                "load": round(os.getloadavg()[0], 1), "python": platform.python_version(), "date": date,
            }  # fmt: skip
            writer.writerow(line)
            print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())

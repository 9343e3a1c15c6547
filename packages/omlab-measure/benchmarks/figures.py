"""What measuring 100 structures costs, beside SimpleITK's label filters: `python benchmarks/figures.py`.

Each way runs in a process of its own on the same drawn label map and image. SimpleITK measures less: no diameter (its
Feret diameter compares all pairs of border voxels), no axes in slices, no bounds.
"""

from __future__ import annotations

import csv
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).with_name("results.csv")
COLUMNS = ["benchmark", "way", "size", "structures", "labelled", "cpu_s", "wall_s", "added_mib", "machine", "date"]
SIZES = ((256, 256, 300), (512, 512, 600))
COUNT = 100


def drawn(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A label map of ellipsoids, three of them large, and an image; in the order of a NIfTI file."""
    rng = np.random.default_rng(0)
    labels = np.zeros(shape, np.uint8, order="F")
    scale = shape[0] / 512
    for value in range(1, COUNT + 1):
        radii = scale * (rng.uniform(10, 70, 3) if value > 3 else np.array([110, 120, 150]))
        middle = [rng.uniform(r, n - r) for r, n in zip(radii, shape, strict=True)]
        box = tuple(slice(int(m - r), int(m + r) + 1) for m, r in zip(middle, radii, strict=True))
        grid = np.ogrid[box]
        share = sum(((g - m) / r) ** 2 for g, m, r in zip(grid, middle, radii, strict=True))
        labels[box][share < 1] = value
    ramp = np.indices((8, 8, 8)).sum(axis=0).astype(np.int16) * 20
    image = np.asfortranarray(np.tile(ramp, [n // 8 + 1 for n in shape])[tuple(slice(n) for n in shape)])
    return labels, image


def child(way: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Measure once, in this process."""
    labels, image = drawn(shape)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work = {"omlab": by_omlab, "simpleitk": by_simpleitk}[way]
    wall, cpu = time.perf_counter(), time.process_time()
    work(labels, image)
    return {
        "cpu_s": round(time.process_time() - cpu, 2),
        "wall_s": round(time.perf_counter() - wall, 2),
        "added_mib": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024),
        "labelled": round(float((labels > 0).mean()), 3),
        "structures": len(np.unique(labels)) - 1,
    }


def by_omlab(labels: np.ndarray, image: np.ndarray) -> None:
    """All that `omlab measure` writes."""
    from omlab_measure.measuring import measure
    from omlab_volume.volume import LabelMap, Volume

    affine = np.diag([0.8, 0.8, 1.0, 1.0])
    measure(LabelMap(array=labels, affine=affine), Volume(array=image[None], affine=affine, intensity="hu"))


def by_simpleitk(labels: np.ndarray, image: np.ndarray) -> None:
    """Shape with the surface, and intensities."""
    import SimpleITK as sitk  # noqa: N813  # as its manual calls it

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    mask, values = sitk.GetImageFromArray(labels.T), sitk.GetImageFromArray(image.T)
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.ComputePerimeterOn()
    shape.Execute(mask)
    sitk.LabelIntensityStatisticsImageFilter().Execute(mask, values)


def main() -> None:
    """Measure both ways at each size, and append the rows."""
    rows = []
    for shape in SIZES:
        for way in ("omlab", "simpleitk"):
            command = [sys.executable, __file__, "--child", way, json.dumps(shape)]
            done = subprocess.run(
                command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=True
            )
            found = json.loads(done.stdout.splitlines()[-1])
            size = "x".join(map(str, shape))
            head = {"benchmark": "measure", "way": way, "size": size}
            rows.append(head | found | {"machine": platform.machine(), "date": datetime.date.today().isoformat()})
            print(rows[-1])
    is_new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        if is_new:
            writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(sys.argv[2], tuple(json.loads(sys.argv[3])))))
    else:
        main()

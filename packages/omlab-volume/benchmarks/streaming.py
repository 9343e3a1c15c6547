"""Peak memory of streaming windows over a big volume, against its size; and of the same window in memory.

    python benchmarks/streaming.py [--sizes 256x256x256 512x512x512 512x512x1024] [--threads 1]

An OME-Zarr volume of 16 bits is read by chunk, its labels are written by chunk with their pyramid, each way in a
process of its own. Sizes are i x j x k; windows of 64, columns of 256, chunks of 64, two classes, no mirroring. The
network is a threshold, so that memory and time are ours. In memory the volume is read whole, predicted by
`predict_labels` and written to the same format. Peaks are resident memory.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import record
import torch
from numpy.typing import NDArray
from torch import Tensor

PATCH, COLUMN, CHUNK = 64, 256, 64


def network(windows: Tensor) -> Tensor:
    """Two classes: darker and brighter than 2000."""
    return torch.cat([2000 - windows, windows - 2000], dim=1)


def make(path: Path, shape: tuple[int, ...]) -> None:
    """Noise, block by block."""
    import omlab
    from omlab_volume.big.payloads import BigVolume
    from omlab_volume.big.voxels import Computed, tiles

    regions = tiles(shape, (CHUNK, CHUNK, CHUNK))

    def compute(first: int) -> Iterator[NDArray[Any]]:
        for number in range(first, len(regions)):
            size = [part.stop - part.start for part in regions[number]]
            yield np.random.default_rng(number).integers(0, 4000, (1, *size)).astype(np.uint16)

    voxels = Computed(
        shape=(1, *shape), dtype=np.dtype(np.uint16), chunks=(CHUNK,) * 3, regions=regions, compute=compute
    )
    omlab.write(BigVolume(voxels=voxels, affine=np.diag([0.004, 0.004, 0.003, 1])), path)


def measure(arguments: dict[str, Any]) -> None:
    # Imported here so that it is part of the base, not of what is timed.
    import zarr  # noqa: F401

    import omlab
    from omlab_volume.big.payloads import BigLabelMap, big
    from omlab_volume.inference.export import predict_labels
    from omlab_volume.inference.sliding_window import SlidingWindow
    from omlab_volume.inference.streaming import stream_windows
    from omlab_volume.labels import labels_from_names
    from omlab_volume.volume import LabelMap

    if arguments["way"] == "make":
        make(Path(arguments["path"]), tuple(arguments["shape"]))
        print("{}")
        return
    volume = omlab.read(arguments["path"], kind="big-volume")
    labels = labels_from_names(["bright"])
    base = record.memory_mib()
    began, cpu = time.perf_counter(), time.process_time()
    if arguments["way"] == "streamed":
        how = SlidingWindow(patch_size=(PATCH,) * 3, classes=2, mirror=False)
        result: BigLabelMap = stream_windows(
            network, volume, how=how, labels=labels, column=(COLUMN, COLUMN), chunk=CHUNK
        )
    else:
        image = torch.from_numpy(volume.loaded().array.transpose(0, 3, 2, 1).astype(np.float32))
        array = predict_labels(network, image, patch_size=(PATCH,) * 3, classes=2, mirror=False)
        result = big(LabelMap(array=array.transpose(2, 1, 0), affine=volume.affine, labels=labels))
    with TemporaryDirectory(dir=Path(arguments["path"]).parent) as folder:
        omlab.write(result, Path(folder) / "labels.ome.zarr")
    seconds, processor = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({"seconds": [seconds], "cpu": [processor], "peak": record.memory_mib(), "base": base}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", nargs="+", default=["256x256x256", "512x512x512", "512x512x1024"])
    parser.add_argument("--whole", nargs="*", default=["256x256x256"], help="sizes that are also done in memory")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--child")
    arguments = parser.parse_args()
    if arguments.child:
        measure(json.loads(arguments.child))
        return
    for size in arguments.sizes:
        with TemporaryDirectory() as folder:
            given = {"path": f"{folder}/brain.ome.zarr", "shape": [int(n) for n in size.split("x")]}
            record.child(__file__, {**given, "way": "make"}, threads=arguments.threads)
            found = {
                way: record.child(__file__, {**given, "way": way}, threads=arguments.threads)
                for way in ("streamed", *(["in memory"] if size in arguments.whole else []))
            }
        rows = record.compared(found, against="streamed")
        about = {"benchmark": "streaming", "classes": 2, "combine": "probabilities", "size": size, "batch": 1}
        about["patch"] = "x".join([str(PATCH)] * 3)
        record.append([{**about, "way": way, **row} for way, row in rows.items()], threads=arguments.threads)


if __name__ == "__main__":
    sys.exit(main())

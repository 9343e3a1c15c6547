"""Images a second from JPEG files to a model: omlab's engine beside a bare torch DataLoader over the same files.

    python benchmarks/decoding.py            # appends rows to results.csv

Each way decodes, resizes and normalises as RETFound's evaluation does, in batches of `BATCH`: the DataLoader in 2
worker processes and nothing else, the engine in its reader threads, with all that a run is (stamps of the files, log,
results written). The model is nothing, or waits as for a GPU about as long as a batch takes to decode: then `hidden` is
the share of the shorter of both (decoding alone, waiting alone) that was done while the other was. A measurement begins
when the first batch is there and ends with the last one; each has a process of its own, the ways take turns. `load` is
how many processes wanted the cores when the run began: rows of a busy machine say so.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import os
import platform
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

RESULTS = Path(__file__).with_name("results.csv")
FILES, SIDE, BATCH, ROUNDS = 240, 1024, 8, 5
WORKERS = 2
LOADER, ENGINE = "bare DataLoader, 2 workers", "omlab's engine"
WAYS = (LOADER, ENGINE)


def draw(folder: Path) -> None:
    """Pictures of `SIDE`^2 pixels with detail at every scale, as photographs have it."""
    generator = np.random.default_rng(0)
    for number in range(FILES):
        layers = []
        for size in (4, 16, 64, 256, SIDE):
            noise = generator.integers(0, 256, (size, size, 3), dtype=np.uint8)
            layers.append(np.asarray(Pillow.fromarray(noise).resize((SIDE, SIDE)), np.float32) - 128)
        weights = np.array([1.0, 0.5, 0.25, 0.12, 0.06])[:, None, None, None]
        picture = np.clip(128 + (np.stack(layers) * weights).sum(0), 0, 255).astype(np.uint8)
        Pillow.fromarray(picture).save(folder / f"{number:04d}.jpg", quality=90)


class Files(Dataset[Tensor]):
    """What anybody would write."""

    def __init__(self, paths: Sequence[Path]) -> None:
        from torchvision import transforms

        self.paths = paths
        self.prepare = transforms.Compose(
            [
                transforms.Resize(256, interpolation=transforms.InterpolationMode.BICUBIC),
                transforms.CenterCrop(224),
                transforms.ToTensor(),
                transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        tensor: Tensor = self.prepare(Pillow.open(self.paths[index]).convert("RGB"))
        return tensor


class Waiter:
    """A model that takes its time without the cores, as one on a GPU does."""

    def __init__(self, seconds: float) -> None:
        from omlab_image.transforms import evaluation

        self.seconds, self.transform = seconds, evaluation(224)
        self.ends: list[float] = []

    def prepare(self, verb: str, inputs: Any, /) -> Tensor:
        return self.transform(inputs["image"])

    def embed(self, batch: Sequence[Tensor], /) -> Iterator[Any]:
        from omlab_payloads.embedding import Embedding

        if not self.ends:
            self.ends.append(time.perf_counter())
        means = torch.stack(list(batch)).mean((2, 3))
        time.sleep(self.seconds)
        self.ends.append(time.perf_counter())
        return iter([Embedding(vector=row.numpy()) for row in means])


def by_loader(paths: Sequence[Path], seconds: float) -> float:
    begin = 0.0
    for batch in DataLoader(Files(paths), batch_size=BATCH, num_workers=WORKERS):
        begin = begin or time.perf_counter()
        batch.mean((2, 3))
        time.sleep(seconds)
    return time.perf_counter() - begin


def by_engine(paths: Sequence[Path], seconds: float) -> float:
    import omlab
    from omlab.card_schema import ModelCard
    from omlab.cases import cases_in
    from omlab.session import Session

    card = ModelCard.model_validate(
        {
            "name": "waiter", "summary": "Waits.", "entry": "decoding:Waiter", "licence": "Apache-2.0",
            "intended_use": "Measuring.", "limits": "Knows nothing.", "citation": "None.",
            "does": {"embed": {"takes": {"image": "image"}, "gives": "embedding", "batch": BATCH}},
        }
    )  # fmt: skip
    model = Waiter(seconds)
    session = Session(model, card=card, identity={"name": "waiter"}, name="waiter")
    with tempfile.TemporaryDirectory() as folder:
        omlab.features(session, "embed", cases_in(paths, "image", name="image"), folder=folder)
    return model.ends[-1] - model.ends[0]


def measured(way: str, folder: str, seconds: float) -> float:
    torch.set_num_threads(1)
    paths = sorted(Path(folder).glob("*.jpg"))
    return (by_loader if way == LOADER else by_engine)(paths, seconds)


def in_a_process(**task: Any) -> float:
    command = [sys.executable, __file__, "--child", json.dumps(task)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(json.loads(done.stdout.splitlines()[-1]))


def rounds(folder: str, seconds: float) -> dict[str, list[float]]:
    """Seconds of each way, in turns."""
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(ROUNDS):
        for way in WAYS:
            found[way].append(in_a_process(way=way, folder=folder, seconds=seconds))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(measured(**json.loads(asked.child))))
        return
    now = datetime.datetime.now(datetime.UTC)
    machine = {
        "load": f"{os.getloadavg()[0]:.1f}", "machine": f"{platform.machine()} CPU", "cores": os.cpu_count(),
        "threads": 1, "python": platform.python_version(), "torch": torch.__version__, "date": now.date().isoformat(),
        "run": f"{now:%Y%m%d}-{secrets.token_hex(3)}",
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder))
        alone = rounds(folder, 0.0)
        decoding = {way: statistics.median(times) for way, times in alone.items()}
        wait = round(decoding[LOADER] * BATCH / FILES, 3)
        for seconds, times in ((0.0, alone), (wait, rounds(folder, wait))):
            base = statistics.median(times[LOADER])
            for way in WAYS:
                median = statistics.median(times[way])
                cuts = statistics.quantiles(times[way], n=10, method="inclusive")
                waiting = seconds * FILES / BATCH
                hidden = (decoding[way] + waiting - median) / min(decoding[way], waiting) if seconds else None
                row = {
                    "benchmark": "decoding", "files": f"{FILES} JPEG of {SIDE} x {SIDE}",
                    "model": f"waits {1e3 * seconds:.0f} ms a batch of {BATCH}" if seconds else "none", "way": way,
                    "p20_s": f"{cuts[1]:.2f}", "p50_s": f"{median:.2f}", "p80_s": f"{cuts[7]:.2f}",
                    "images_a_second": f"{FILES / median:.1f}", "of_the_loader": f"{base / median:.2f}",
                    "hidden": "" if hidden is None else f"{hidden:.2f}", **machine,
                }  # fmt: skip
                append(row)
                print(*(f"{name}={value}" for name, value in row.items()), flush=True)


def append(row: dict[str, Any]) -> None:
    is_new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()

"""Try tiles on the card at hand: is each right, how long does it take, and which is best for a shape.

    python3 -m tools.gpu.tune --out FOLDER [--only KERNEL] [--rehearse]

Rows go to `FOLDER/tiles.csv` as they come, the best of each shape to `FOLDER/tiles.txt`. Times are the p50 of replayed
CUDA graphs, without what the host adds; `by_queries` and `by_keys` are timed with the whole backward pass, the other
one as the table has it. A rehearsal has no times. What is best here is put into `omlab_kernels/tiles.py` by hand.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from measure import replayed  # type: ignore[import-not-found]  # beside the benchmarks of the kernels
from torch import Tensor

from omlab_kernels import tiles
from tools.gpu.trials import Trial, trials

COLUMNS = ("kernel", "shape", "tile", "ms", "error", "verdict", "device", "torch")


def main() -> int:
    """Try what is asked for; 0 where every tile that ran was right, and at least one of each shape ran."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", help="one kernel: " + ", ".join((*tiles.ATTENTION, *tiles.SWEEPS)))
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--start", type=int, default=0, help="the number of the first trial, where a run goes on")
    asked = parser.parse_args()
    results = asked.out / "tiles.csv"
    if not asked.start:
        results.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    device = "cpu" if asked.rehearse else "cuda"
    for number, trial in enumerate(trials(rehearse=asked.rehearse)):
        if number < asked.start or asked.only not in (None, trial.kernel):
            continue
        row = _tried(trial, device)
        print(*row.values(), flush=True)
        with results.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(row)
        (asked.out / "tiles.txt").write_text(best(_read(results)), encoding="utf-8")
        if row["verdict"].startswith("failed") and not _works(device):
            # Its context is lost: a new process goes on behind the tile that broke it.
            os.execv(sys.executable, [sys.executable, *_same_call(), "--start", str(number + 1)])
    print(best(_read(results)), end="")
    rows = _read(results)
    wrong = [row for row in rows if row["verdict"] == "wrong"]
    none = {(row["kernel"], row["shape"]) for row in rows} - {
        (row["kernel"], row["shape"]) for row in rows if row["verdict"] == "right"
    }
    print(f"{len(rows)} tiles tried, {len(wrong)} wrong, {len(none)} shapes without any")
    return int(bool(wrong or none))


def best(rows: Iterable[dict[str, str]]) -> str:
    """Of each kernel and shape the quickest tile that is right beside that of the table, which was tried first."""
    groups: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault((row["kernel"], row["shape"]), []).append(row)
    lines = []
    for (kernel, shape), own in groups.items():
        right = [row for row in own if row["verdict"] == "right"]
        if not right:
            lines.append(f"{kernel} {shape}: no tile was right")
            continue
        first, now = min(right, key=lambda row: float(row["ms"] or math.inf)), own[0]
        table = f"now {now['tile']}: {now['ms'] or now['verdict']}"
        lines.append(f"{kernel} {shape}: best {first['tile']}: {first['ms'] or 'not timed'}; {table}")
    return "".join(f"{line}\n" for line in lines)


def _tried(trial: Trial, device: str) -> dict[str, str]:
    ms, error, verdict = "", "", "right"
    try:
        made = trial.ready(device)
        wanted = made.exact()
        with tiles.tried(trial.kernel, trial.tile):  # type: ignore[arg-type]
            off = [_gap(*pair) for pair in zip(made.call(), wanted, strict=True)]
            error = f"{max(off):.2g}"
            if not all(gap <= most for gap, most in zip(off, made.allowed, strict=True)):  # so that NaN is wrong
                verdict = "wrong"
            elif device == "cuda":
                time = replayed(made.call, 10)
                ms = "" if time is None else f"{time:.4g}"
    except Exception as failure:  # one that does not fit must not cost the others
        verdict = f"failed: {type(failure).__name__}: {failure}".splitlines()[0]
    card = torch.cuda.get_device_name() if device == "cuda" else "rehearsal"
    values = (trial.kernel, trial.words(), "/".join(map(str, trial.tile)), ms, error, verdict, card, torch.__version__)
    return dict(zip(COLUMNS, values, strict=True))


def _gap(found: Tensor, wanted: Tensor) -> float:
    """The largest error in terms of the largest value; none of what a kernel was not asked for."""
    return 0.0 if not wanted.numel() else float((found.double() - wanted).abs().max() / wanted.abs().max())


def _works(device: str) -> bool:
    try:
        return bool(torch.ones(1, device=device).sum() == 1)
    except RuntimeError:
        return False


def _same_call() -> list[str]:
    given = [part for place, part in enumerate(sys.argv[1:]) if "--start" not in (part, sys.argv[place])]
    return ["-u", "-m", "tools.gpu.tune", *given]


def _read(results: Path) -> list[dict[str, str]]:
    with results.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    sys.exit(main())

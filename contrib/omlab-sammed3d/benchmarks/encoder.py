"""The image encoder on the CPU: windows with one sink key against windows padded as upstream pads them.

    python benchmarks/encoder.py [--depth 12] [--rounds 3] [--threads 1]

vit_b_ori at 128^3, the same drawn weights and image, inference. Each form runs in processes of its own, the two
alternating, so that the highest resident memory is its own: `peak_mib` with the network and the image, `added_mib`
what the encoder takes beyond them. Rows go to results.csv; ratios are to the padded form of the same run.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import json
import os
import platform
import resource
import secrets
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from omlab_testkit.rows import processor

RESULTS = Path(__file__).with_name("results.csv")
FORMS = ("padded", "sink")


def memory_mib() -> float:
    """This process's highest resident memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(form: str, *, depth: int) -> dict[str, Any]:
    """One run of one form in this process; the output's samples tell that both compute the same."""
    import torch

    from omlab_sammed3d.naive import pad_attentions
    from omlab_sammed3d.network import SamMed3dConfig, untrained

    encoder = untrained(SamMed3dConfig(depth=depth)).image_encoder.requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in encoder.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    image = torch.randn(1, 1, 128, 128, 128, generator=generator)
    if form == "padded":
        pad_attentions(encoder)
    base, wall, cpu = memory_mib(), time.perf_counter(), time.process_time()
    with torch.inference_mode():
        output = encoder(image)
    seconds, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "seconds": seconds,
        "cpu": cpu,
        "peak": memory_mib(),
        "base": base,
        "samples": output.flatten()[::997].tolist(),
    }


def child(form: str, *, depth: int, threads: int) -> dict[str, Any]:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [sys.executable, __file__, "--child", form, "--depth", str(depth)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{form} failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def row(form: str, runs: dict[str, list[dict[str, Any]]], *, depth: int, threads: int, run: str) -> dict[str, Any]:
    own, padded = runs[form], runs["padded"]
    seconds = [run["seconds"] for run in own]
    cuts = statistics.quantiles(seconds * 2 if len(seconds) == 1 else seconds, n=10, method="inclusive")
    spread = statistics.pstdev(padded[0]["samples"])
    gaps = zip(own[0]["samples"], padded[0]["samples"], strict=True)
    peak, base = max(run["peak"] for run in own), min(run["base"] for run in own)
    padded_peak = max(run["peak"] for run in padded)
    times_faster = statistics.median(run["seconds"] for run in padded) / statistics.median(seconds)
    return {
        "benchmark": "encoder_128", "form": form, "depth": depth, "rounds": len(own),
        "p20_s": round(cuts[1], 3), "p50_s": round(cuts[4], 3), "p80_s": round(cuts[7], 3),
        "cpu_s": round(min(run["cpu"] for run in own), 3),
        "peak_mib": round(peak), "added_mib": round(peak - base),
        "times_faster": round(times_faster, 2), "peak_ratio": round(peak / padded_peak, 3),
        "error_of_spread": f"{max(abs(a - b) for a, b in gaps) / spread:.1e}",
        "device": "cpu", "machine": processor(), "cores": os.cpu_count(), "threads": threads,
        "python": platform.python_version(), "torch": importlib.metadata.version("torch"),
        "date": time.strftime("%Y-%m-%d", time.gmtime()), "run": run,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--child", choices=FORMS, help=argparse.SUPPRESS)
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(measure(given.child, depth=given.depth)))
        return
    runs: dict[str, list[dict[str, Any]]] = {form: [] for form in FORMS}
    for _ in range(given.rounds):
        for form in FORMS:
            runs[form].append(child(form, depth=given.depth, threads=given.threads))
    run = f"{time.strftime('%Y%m%d', time.gmtime())}-{secrets.token_hex(3)}"
    rows = [row(form, runs, depth=given.depth, threads=given.threads, run=run) for form in FORMS]
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)
    for found in rows:
        print(*(f"{key}={value}" for key, value in found.items()))


if __name__ == "__main__":
    main()

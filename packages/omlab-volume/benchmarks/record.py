"""What the benchmarks share: children that are measured alone, and rows for `results.csv`."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from omlab_testkit.rows import append_rows

RESULTS = Path(__file__).with_name("results.csv")


def memory_mib() -> float:
    """This process's highest resident memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(script: str, arguments: dict[str, Any], *, threads: int) -> dict[str, Any]:
    """Run `script --child ARGUMENTS` alone and return the JSON that it prints last."""
    environment = {
        **os.environ,
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"), str(threads)),
    }
    done = subprocess.run(
        [sys.executable, script, "--child", json.dumps(arguments)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{script} {arguments} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def quantiles(seconds: list[float]) -> dict[str, float]:
    """p20, p50 and p80 of some timings."""
    cuts = statistics.quantiles(seconds * 2 if len(seconds) == 1 else seconds, n=10, method="inclusive")
    return {"p20_s": round(cuts[1], 3), "p50_s": round(cuts[4], 3), "p80_s": round(cuts[7], 3)}


def compared(found: dict[str, dict[str, Any]], *, against: str) -> dict[str, dict[str, Any]]:
    """The measured columns of each way in `found` and their ratios to the way `against`.

    `cpu_s` is the least processor time of a run: on a busy machine it says more than the wall clock.
    """
    rows = {}
    for way, result in found.items():
        rows[way] = {
            **quantiles(result["seconds"]),
            "cpu_s": round(min(result["cpu"]), 3),
            "peak_mib": round(result["peak"]),
            "base_mib": round(result["base"]),
        }
    theirs, base = rows[against], found[against]
    for way, row in rows.items():
        row["time_ratio"] = round(row["p50_s"] / theirs["p50_s"], 3)
        row["cpu_ratio"] = round(row["cpu_s"] / theirs["cpu_s"], 3)
        row["peak_ratio"] = round(row["peak_mib"] / theirs["peak_mib"], 3)
        added = base["peak"] - base["base"]
        row["added_ratio"] = round((found[way]["peak"] - found[way]["base"]) / added, 3) if added else ""
    return rows


def alternate(script: str, ways: list[str], arguments: dict[str, Any], *, rounds: int, threads: int) -> dict[str, Any]:
    """Run each way in children of its own, alternating, and pool what they measured."""
    found: dict[str, dict[str, Any]] = {}
    for _ in range(rounds):
        for way in ways:
            result = child(script, {**arguments, "way": way}, threads=threads)
            kept = found.setdefault(way, {"seconds": [], "cpu": [], "peak": 0.0, "base": result["base"]})
            kept["seconds"] += result["seconds"]
            kept["cpu"] += result["cpu"]
            kept |= {
                **result,
                **{key: kept[key] for key in ("seconds", "cpu", "base")},
                "peak": max(kept["peak"], result["peak"]),
            }
    return found


def append(rows: list[dict[str, Any]], *, threads: int) -> None:
    """Append `rows` with the machine and the versions, and print them."""
    append_rows(RESULTS, rows, threads=threads)

"""Processor time and peak memory of every model on an input of ordinary size, for the models' pages.

python -m tools.costs [MODEL ...]      measure, and rewrite their rows of docs/costs.csv

Each verb runs in a process of its own, with weights drawn at random, on one thread. The time is a second call's, with
another input of that size, where the first took less than half a minute: what is read and made ready once is left out.
What has no ordinary size (chats, big volumes, scans with their reference) gets no row.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any, cast

from omlab.card_schema import ModelCard, validate
from omlab.registry import registry
from omlab_testkit.rows import processor
from tools import catalogue
from tools.model_pages import COSTS, costs
from tools.ordinary_inputs import drawn, ordinary

COLUMNS = ("model", "verb", "input", "seconds", "peak_mib", "machine", "threads", "torch", "date")
LONGEST = 900  # seconds of a child
AGAIN = 30  # seconds of a call that is made again


def measure(name: str, verb: str) -> None:
    """Print the row of one verb as JSON; run in a child."""
    import torch

    import omlab

    torch.set_num_threads(1)
    session = omlab.load_model(f"{name}.untrained", device="cpu")
    used = 0.0
    for seed in (0, 10):
        made = drawn(session, verb, seed=seed)
        began = time.process_time()
        result = getattr(session, verb)(**made)
        getattr(result, "loaded", lambda: None)()  # features of a slide are computed when they are asked for
        used = time.process_time() - began
        if used > AGAIN:
            break
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    row = {
        "input": ordinary(session.card, verb),
        "seconds": round(used, 3),
        "peak_mib": round(peak),
        "torch": torch.__version__,
    }
    print(json.dumps(row))


def rows_of(card: ModelCard) -> list[dict[str, Any]]:
    """The rows of one model; a verb that fails or takes too long is said on standard error and left out."""
    rows = []
    for verb in card.does:
        if ordinary(card, verb) is None:
            continue
        command = [sys.executable, "-m", "tools.costs", "--child", card.name, verb]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        try:
            done = subprocess.run(  # noqa: S603 - ourselves
                command, env=environment, capture_output=True, text=True, check=True, timeout=LONGEST
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            last = (str(error.stderr or "").strip().splitlines() or ["it took too long"])[-1]
            print(f"{card.name} {verb}: {last}", file=sys.stderr)
            continue
        about = {"machine": processor(), "threads": 1, "date": datetime.now(UTC).date().isoformat()}
        rows.append({"model": card.name, "verb": verb, **json.loads(done.stdout.splitlines()[-1]), **about})
    return rows


def main() -> None:
    """Measure the models that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", metavar="MODEL", nargs="*", help="models (default: all)")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        measure(*asked.child)
        return
    for name in asked.names or [card.name for card in catalogue.models()]:
        _replace(name, rows_of(cast(ModelCard, validate(registry().get("model", name)))))


def _replace(name: str, rows: list[dict[str, Any]]) -> None:
    costs.cache_clear()
    kept = [row for row in costs() if row["model"] != name]
    with COSTS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(sorted([*kept, *rows], key=lambda row: (row["model"], row["verb"])))
    for row in rows:
        print(f"{row['model']} {row['verb']}: {row['seconds']} s, {row['peak_mib']} MiB", flush=True)


if __name__ == "__main__":
    main()

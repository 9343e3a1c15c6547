"""Processor time and peak memory of every model on an input of ordinary size, for the models' pages.

python -m tools.costs [MODEL ...]      measure, and rewrite their rows of docs/costs.csv

Each verb runs in a process of its own, with weights drawn at random, on one thread. The time is a second call's, with
another input of that size, where the first took less than half a minute: what is read and made ready once is left out.
Models whose inputs have no ordinary size here (bags, slides, scans with annotations) get no row.
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
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np

from omlab.card_schema import ModelCard, validate
from omlab.registry import registry
from omlab_testkit.rows import processor
from tools import catalogue
from tools.model_pages import COSTS, costs

COLUMNS = ("model", "verb", "input", "seconds", "peak_mib", "machine", "threads", "torch", "date")
LONGEST = 900  # seconds of a child
AGAIN = 30  # seconds of a call that is made again


def _volume(seed: int) -> Any:
    from omlab_volume.volume import Volume

    draws = np.random.default_rng(seed).normal(0, 100, (1, 128, 128, 128)).astype(np.float32)
    return Volume(array=draws, affine=np.diag([1.5, 1.5, 1.5, 1.0]), intensity="hu")


def _image(seed: int) -> Any:
    from omlab_image.image import Image

    return Image(array=np.random.default_rng(seed).integers(0, 256, (512, 512, 3), dtype=np.uint8))


def _clip(seed: int) -> Any:
    from omlab_video.clip import Clip

    return Clip.of(np.random.default_rng(seed).integers(0, 256, (32, 256, 256, 3), dtype=np.uint8), rate=25.0)


def _sequence(seed: int) -> Any:
    from omlab_protein.sequence import Sequence

    return Sequence(letters="".join(np.random.default_rng(seed).choice(list("ACDEFGHIKLMNPQRSTVWY"), 250)))


def _click(*, space: str, at: tuple[float, ...], image: str | None = None) -> Any:
    from omlab_prompts.prompts import Object, Point, Prompts

    objects = (Object(name="object", points=(Point(at=cast(Any, at)),)),)
    return Prompts(space=cast(Any, space), image=image, objects=objects)


INPUTS: dict[str, tuple[str, Callable[[int], Any]]] = {
    "volume": ("volume of 128 x 128 x 128 voxels", _volume),
    "image": ("image of 512 x 512 pixels", _image),
    "clip": ("clip of 32 frames", _clip),
    "sequence": ("250 residues", _sequence),
}
CLICKS: dict[str, Callable[[], Any]] = {
    "volume": lambda: _click(space="ras", at=(96.0, 96.0, 96.0)),
    "image": lambda: _click(space="pixel", at=(256.0, 256.0), image="image.png"),
}


def inputs(card: ModelCard, verb: str, *, seed: int = 0) -> tuple[str, dict[str, Any]] | None:
    """What a verb is measured on: in words, and its required inputs. None: one of them has no ordinary size."""
    kinds = {name: card.does[verb].kinds[name] for name in card.does[verb].required}
    main = [kind for kind in kinds.values() if kind in INPUTS]
    if len(main) != 1 or set(kinds.values()) - {main[0], "prompts"}:
        return None
    words, make = INPUTS[main[0]]
    made = {name: CLICKS[main[0]]() if kind == "prompts" else make(seed) for name, kind in kinds.items()}
    return (f"{words}, one click" if "prompts" in kinds.values() else words), made


def measure(name: str, verb: str) -> None:
    """Print the row of one verb as JSON; run in a child."""
    import torch

    import omlab

    torch.set_num_threads(1)
    card = cast(ModelCard, validate(registry().get("model", name)))
    session = omlab.load_model(f"{name}.untrained", device="cpu")
    used, words = 0.0, ""
    for seed in (0, 1):
        found = inputs(card, verb, seed=seed)
        assert found is not None
        words, made = found
        began = time.process_time()
        getattr(session, verb)(**made)
        used = time.process_time() - began
        if used > AGAIN:
            break
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    row = {"input": words, "seconds": round(used, 3), "peak_mib": round(peak), "torch": torch.__version__}
    print(json.dumps(row))


def rows_of(card: ModelCard) -> list[dict[str, Any]]:
    """The rows of one model; a verb that fails or takes too long is said on standard error and left out."""
    rows = []
    for verb in card.does:
        if inputs(card, verb) is None:
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

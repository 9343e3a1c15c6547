"""What pre-training taught, for benchmarks: drawn pictures as a table of cases, and a probe of features on them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import omlab

FIGURES = ("accuracy", "auroc")


def draw_table(
    table: Path,
    splits: Mapping[str, int],
    *,
    classes: Sequence[str],
    picture: Callable[[str, np.random.Generator], NDArray[np.uint8]],
    seed: int,
) -> str:
    """Draw pictures, every class as often, and their table (id, image, target, split).

    Args:
        table: The CSV file; pictures go into a folder of its name beside it.
        splits: How many pictures each has.
        classes: Their names.
        picture: Draws one (H, W, 3) of a class.
        seed: Of all draws.

    Returns:
        The name of the data set, `cases:TABLE`.
    """
    random = np.random.default_rng(seed)
    pictures = table.with_suffix("")
    pictures.mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["id", "image", "target", "split"])
        for split, count in splits.items():
            for number in range(count):
                kind, name = classes[number % len(classes)], f"{split}-{number:04d}"
                Image.fromarray(picture(kind, random)).save(pictures / f"{name}.png")
                rows.writerow([name, f"{pictures.name}/{name}.png", kind, split])
    return f"cases:{table}"


def probe(
    model: str | Path, data: str, folder: Path, *, settings: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, list[float]]:
    """Figures of a linear probe of a model's features on a data set: value, and the ends of its interval.

    Settings are those of `omlab.adapt`. Needs omlab-adapters and omlab-evaluators; both runs are left in `folder`.
    """
    omlab.adapt(model, data, adapter="linear-probe", settings=dict(settings), output=folder / "probe")
    report = omlab.evaluate(folder / "probe", data, output=folder / "report")
    content = json.loads((report.place / "report.json").read_text(encoding="utf-8"))
    return {
        row["name"]: [row["value"], row["low"], row["high"]]
        for row in content["metrics"]
        if row["name"] in FIGURES and not row["label"]
    }

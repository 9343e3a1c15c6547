"""What pre-training taught, for benchmarks: drawn cases as a table, and a probe of features before and after."""

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

    def write(kind: str, random: np.random.Generator, path: Path) -> None:
        Image.fromarray(picture(kind, random)).save(path)

    return draw_files(table, splits, classes=classes, column="image", suffix=".png", write=write, seed=seed)


def draw_files(
    table: Path,
    splits: Mapping[str, int],
    *,
    classes: Sequence[str],
    column: str,
    suffix: str,
    write: Callable[[str, np.random.Generator, Path], None],
    seed: int,
) -> str:
    """As `draw_table` of other files than pictures.

    Args:
        table: The CSV file; the others go into a folder of its name beside it.
        splits: How many cases each has.
        classes: Their names.
        column: Name of the input.
        suffix: Of its files.
        write: Draws a file of a class.
        seed: Of all draws.
    """
    random = np.random.default_rng(seed)
    files = table.with_suffix("")
    files.mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["id", column, "target", "split"])
        for split, count in splits.items():
            for number in range(count):
                kind, name = classes[number % len(classes)], f"{split}-{number:04d}"
                write(kind, random, files / f"{name}{suffix}")
                rows.writerow([name, f"{files.name}/{name}{suffix}", kind, split])
    return f"cases:{table}"


def pretrain_and_probe(
    model: str,
    *,
    unlabelled: str,
    labelled: str,
    recipe: str,
    settings: Mapping[str, Any],
    seed: int,
    folder: Path,
    seen: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Pre-train a model, and print its losses, and the figures of a probe before and after.

    Args:
        model: Its name.
        unlabelled: The data set to pre-train on.
        labelled: The one to probe on.
        recipe: Of the pre-training.
        settings: Of the recipe.
        seed: Of the training.
        folder: Where all runs are left.
        seen: Settings of the model itself, for training and probes alike.
    """
    place = folder / "pretrained"
    omlab.adapt(model, unlabelled, recipe=recipe, settings={**seen, **settings}, seed=seed, output=place)
    history = json.loads((place / "history.json").read_text(encoding="utf-8"))
    print("loss", *(round(row["loss"], 3) for row in history))
    print("untrained", probe(model, labelled, folder / "untrained", settings=seen))
    print("pretrained", probe(place, labelled, folder / "after", settings=seen))


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

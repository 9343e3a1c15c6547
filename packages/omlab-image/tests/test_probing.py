"""Drawn pictures and their table: every class as often, the same for a seed."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from omlab_image.probing import draw_table


def picture(kind: str, random: np.random.Generator) -> NDArray[np.uint8]:
    """Noise, pale for one of the kinds."""
    return (random.integers(0, 60, (8, 9, 3)) + 190 * (kind == "pale")).astype(np.uint8)


def drawn(folder: Path, *, seed: int) -> list[dict[str, str]]:
    folder.mkdir()
    name = draw_table(
        folder / "t.csv", {"train": 4, "test": 2}, classes=("pale", "dark"), picture=picture, seed=seed
    )  # fmt: skip
    assert name == f"cases:{folder / 't.csv'}"
    with (folder / "t.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_table_of_drawn_pictures(tmp_path: Path) -> None:
    rows = drawn(tmp_path / "a", seed=0)
    assert [(row["target"], row["split"]) for row in rows] == [
        ("pale", "train"), ("dark", "train"), ("pale", "train"), ("dark", "train"), ("pale", "test"), ("dark", "test"),
    ]  # fmt: skip
    first = [np.asarray(Image.open(tmp_path / "a" / row["image"])) for row in rows]
    assert all((one.mean() > 128) == (row["target"] == "pale") for one, row in zip(first, rows, strict=True))
    again = [np.asarray(Image.open(tmp_path / "b" / row["image"])) for row in drawn(tmp_path / "b", seed=0)]
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    other = [np.asarray(Image.open(tmp_path / "c" / row["image"])) for row in drawn(tmp_path / "c", seed=1)]
    assert not np.array_equal(first[0], other[0])

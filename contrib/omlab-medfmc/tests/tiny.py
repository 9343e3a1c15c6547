"""Tiny copies of MedFMC in each layout: drawn images and lists of the published forms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from omlab_medfmc.sets import SETS, MedfmcSet, without_suffix

Line = tuple[str, str]
"""A name and its labels, as a list has them."""
LABELS = {"chest": ",", "endo": " "}


def names(one: MedfmcSet, count: int, *, first: int = 0) -> list[str]:
    """Names as the set has them: dots, spaces, no suffix that a list could do without."""
    numbers = range(first, first + count)
    match one.name:
        case "chest":
            return [f"DX.1.2.840.{7000 + n}.{n % 3}.png" for n in numbers]
        case "colon":
            slide = "2019-{:05d}-1-1-1_2019-05-28 17_55_39-lv1-47004-11609-5464-5695p{:04d}.png"
            return [slide.format(10000 + n // 2, n) for n in numbers]
        case "endo":
            return [f"13333_2021.{1 + n // 100:02d}_{n // 2 % 10000:04d}_{50000000 + n}.png" for n in numbers]
        case "neojaundice":
            return [f"{n // 3:04d}-{n % 3 + 1}.jpg" for n in numbers]
    return [f"2023010{n:013d}.jpg" for n in numbers]


def lines(one: MedfmcSet, count: int, *, first: int = 0) -> list[Line]:
    """Entries of which every class has some."""
    found = []
    for place, name in enumerate(names(one, count, first=first)):
        group = place // {"colon": 2, "endo": 2, "neojaundice": 3}.get(one.name, 1)
        right = group % len(one.classes)
        sign = LABELS.get(one.name)
        values = [str(int(n == right or (n == 0 and group % 5 == 4))) for n in range(len(one.classes))]
        found.append((name, sign.join(values) if sign else str(right)))
    return found


def write_images(folder: Path, entries: Sequence[Line]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, _ in entries:
        seed = sum(name.encode()) + 256 * len(list(folder.iterdir()))
        pixels = np.random.default_rng(seed).integers(0, 255, (12, 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)


def write_list(path: Path, entries: Sequence[Line], *, labels: bool = True, suffixes: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, label in entries:
        shown = name if suffixes else without_suffix(name)
        rows.append(f"{shown} {label}" if labels else shown)
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_table(path: Path, entries: Sequence[Line], one: MedfmcSet, *, labels: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sign = LABELS.get(one.name)
    heading = ["img_id", *((one.classes if sign else ["label"]) if labels else [])]
    cells = [[name, *((label.split(sign) if sign else [label]) if labels else [])] for name, label in entries]
    path.write_text("\n".join(",".join(row) for row in [heading, *cells]) + "\n", encoding="utf-8")


def parts(one: MedfmcSet) -> dict[str, list[Line]]:
    """Entries of the parts, no patient in two of them."""
    size = 6 * len(one.classes)
    return {part: lines(one, size, first=n * 600) for n, part in enumerate(("train", "val", "test", "rest"))}


def baseline(root: Path, name: str) -> Path:
    """`data/MedFMC/NAME/images` with the lists beside, few-shot ones with the published overlap."""
    one = SETS[name]
    entries = parts(one)
    home = root / "data" / "MedFMC" / one.folders[0]
    for part in entries.values():
        write_images(home / "images", part)
    write_list(home / "trainval.txt", entries["train"] + entries["val"])
    write_list(home / "train_20.txt", entries["train"])
    write_list(home / "val_20.txt", entries["val"])
    write_list(home / "test_WithLabel.txt", entries["test"])
    write_list(home / "test_WithoutLabel.txt", entries["rest"], labels=False)
    if one.published:
        few = entries["train"][: 2 * len(one.classes)]
        write_list(home / f"{name}_1-shot_train_exp1.txt", [*few, few[0]])
        write_list(home / f"{name}_1-shot_val_exp1.txt", entries["train"][len(one.classes) :] + entries["val"])
    return root


def challenge(root: Path, name: str, *, images: str = "images") -> Path:
    """`MedFMC_train` and `MedFMC_val` with CSV files."""
    one = SETS[name]
    entries = parts(one)
    for part, folder in (("train", "MedFMC_train"), ("rest", "MedFMC_val")):
        home = root / folder / one.folders[0]
        write_images(home / images, entries[part])
        split = folder.removeprefix("MedFMC_")
        write_table(home / f"{name}_{split}.csv", entries[part], one, labels=part == "train")
    return root


def paper(root: Path, name: str) -> Path:
    """`ChestDR/images` and the like, names without suffixes."""
    one = SETS[name]
    entries = parts(one)
    home = root / one.folders[1]
    write_images(home / "images", entries["train"] + entries["test"])
    write_list(home / "fewshot-pool.txt", entries["train"], suffixes=False)
    write_list(home / "test.txt", entries["test"], suffixes=False)
    return root

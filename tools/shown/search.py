"""The reader of docs/search.md: drawn pictures, of which one does not belong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tools.shown.reader import Reader, written

SIDE = 40


def files(folder: Path) -> None:
    """Known pictures, new ones, and a table of queries."""
    for name, count, place in (("k", 5, "images"), ("n", 2, "new")):
        (folder / place).mkdir()
        for number in range(count):
            picture(number).save(folder / place / f"{name}{number}.png")
    picture(9).save(folder / "photo.jpg")
    written(folder / "list.csv", "id,image,split", "q,new/n0.png,test", "k,images/k0.png,train")


def picture(number: int) -> Image.Image:
    """Stripes that grow broader."""
    places = np.add.outer(np.arange(SIDE), np.arange(SIDE))
    grey = 127 + 120 * np.sin(places / (number + 1))
    return Image.fromarray(np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2))


SEARCH = Reader(
    files=files,
    instead=[("MODEL", "retfound-tiny.untrained")],
    given=lambda: {name: np.eye(12, 4)[:, ::-1] + 0.1 for name in ("known", "asked", "new")},
)

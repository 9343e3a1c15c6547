"""What the test kit cannot make up: a user's own files."""

from __future__ import annotations

import atexit
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import numpy as np

from omlab_image.io.picture import Picture
from omlab_image.testing import example_images


@cache
def dataset_root(card: str) -> Path:
    """Twelve images of two classes, listed in a table: of a folder alone nobody could tell that a file is gone."""
    folder = Path(mkdtemp(prefix="omlab-imagefolder-"))
    atexit.register(rmtree, folder, ignore_errors=True)
    image = example_images()[2]
    rows = ["image,class,group"]
    for number in range(12):
        Picture().write(image.with_array(np.roll(image.array, number, axis=1)), folder / f"{number}.png")
        rows.append(f"{number}.png,{('benign', 'malignant')[number % 2]},patient {number // 2}")
    (folder / "labels.csv").write_text("\n".join(rows))
    return folder

"""What the test kit cannot make up: a small encoder, a table of slides, and when the event of an example was."""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

import numpy as np

import omlab
from omlab.payloads import Inputs
from omlab.session import Session
from omlab_payloads.embedding import Embedding
from omlab_payloads.scores import Scores
from omlab_slide.testing import example_bags
from omlab_testkit.example_data import ExampleCase, ExampleData
from omlab_testkit.stand_ins import session


class MeanColour:
    """Red, green and blue of a patch."""

    def embed(self, batch: Sequence[Inputs], /) -> Iterator[Embedding]:
        """Three numbers for each."""
        for inputs in batch:
            image: Any = inputs["image"]
            yield Embedding(vector=np.asarray(image.array.mean(axis=(0, 1)), np.float32))


def needs(card: str) -> dict[str, Session] | None:
    """In the place of the encoder that `slide-features` needs; slide models may do without one."""
    if card != "slide-features":
        return None
    return {"encoder": session(MeanColour(), does={"embed": {"takes": {"image": "image"}, "gives": "embedding"}})}


@cache
def dataset_root(card: str) -> Path | None:
    """Six bags of three patients and their table."""
    if card != "slides":
        return None
    folder = Path(mkdtemp(prefix="omlab-slides-"))
    atexit.register(rmtree, folder, ignore_errors=True)
    rows = ["slide,patient,label,split"]
    for number in range(6):
        omlab.write(example_bags()[2], folder / f"s{number}.bag.zarr")
        rows.append(f"s{number},p{number // 2},{'xy'[number // 2 % 2]},{('train', 'val', 'test')[number // 2]}")
    (folder / "slides.csv").write_text("\n".join(rows))
    return folder / "slides.csv"


def data(card: str, recipe: str) -> ExampleData | None:
    """Bags with time and event, for survival."""
    if recipe != "survival":
        return None
    samples = [
        ExampleCase(
            id=f"case {number}",
            inputs={"bag": bag},
            target=Scores(values={"time": number + 0.5, "event": number % 2}),
            group=f"patient {number}",
        )
        for number, bag in enumerate(example_bags())
    ]
    return ExampleData(samples=samples, kinds={"bag": "bag"}, target="scores", task="survival")

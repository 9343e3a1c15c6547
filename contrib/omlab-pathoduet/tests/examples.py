"""What the test kit trains the recipes on: pairs of stains where a recipe learns from pairs."""

from __future__ import annotations

from typing import Any

import numpy as np

from omlab_image import Image
from omlab_testkit.example_data import ExampleCase, ExampleData

PAIRED = ("cross-stain", "multi-stain")


def pair(number: int) -> dict[str, Image]:
    """One place in two colours."""
    generator = np.random.default_rng(number)
    density = generator.random((80, 72, 1)).repeat(3, axis=2)
    he, ihc = (255 * (1 - density * np.array(colour)) for colour in ((0.3, 0.7, 0.2), (0.4, 0.6, 0.9)))
    return {name: Image(array=np.rint(array).astype(np.uint8)) for name, array in (("he", he), ("ihc", ihc))}


def data(card: str, recipe: str) -> Any:
    """Pairs for the recipes that learn from them."""
    if recipe not in PAIRED:
        return None
    samples = [ExampleCase(id=f"place-{number}", inputs=pair(number), group=f"slide-{number}") for number in range(4)]
    return ExampleData(samples=samples, kinds={"he": "image", "ihc": "image"})

"""What the test kit cannot make up: bags of two classes, for networks that know no third."""

from __future__ import annotations

from omlab_payloads.classes import Classes
from omlab_slide.testing import example_bags
from omlab_testkit.example_data import ExampleCase, ExampleData

NAMES = ("normal", "tumour")


def data(card: str, recipe: str) -> ExampleData:
    """A case for each example, of one class and the other in turn."""
    samples = [
        ExampleCase(
            id=f"case {number}",
            inputs={"bag": bag},
            target=Classes(names=NAMES, probabilities=[float(number % 2 == place) for place in range(2)]),
            group=f"patient {number}",
        )
        for number, bag in enumerate(example_bags())
    ]
    kinds = {"bag": "bag"}
    return ExampleData(
        samples=samples, kinds=kinds, target="classes", classes=dict(enumerate(NAMES)), task="classification"
    )

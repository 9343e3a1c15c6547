"""Clouds of numbers, computed."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from omlab import About, Sample
from omlab_payloads.classes import Classes

NAMES = ("low", "middle", "high")


@dataclass(frozen=True, eq=False)
class Reading:
    kind: ClassVar[str] = "reading"
    values: np.ndarray


@dataclass(frozen=True)
class ReadingCase:
    id: str
    number: int
    group: str | None

    @property
    def files(self):
        return {}

    def load(self):
        name = NAMES[self.number % 3]
        values = np.random.default_rng(self.number).normal(0, 1, 6)
        values[self.number % 3] += 5
        target = Classes(names=NAMES, probabilities=[float(n == name) for n in NAMES])
        return Sample(id=self.id, inputs={"reading": Reading(values)}, target=target, group=self.group)


class Readings:
    def splits(self):
        return ["train", "test"]

    def prepare(self):
        pass

    def about(self, split):
        return About(
            inputs={"reading": "reading"},
            target="classes",
            task="classification",
            classes=dict(enumerate(NAMES)),
            cases=len(self.cases(split)),
        )

    def digest(self, split):
        return f"readings-{split}"

    def cases(self, split):
        first, count = (0, 60) if split == "train" else (900, 30)
        return [ReadingCase(f"{split}-{n:02d}", first + n, f"{split}-{n // 2}") for n in range(count)]

    def verify(self):
        return []


def open_readings(card, *, root, settings):
    return Readings()

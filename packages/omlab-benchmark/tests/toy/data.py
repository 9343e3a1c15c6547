"""Clouds of numbers, computed."""

from dataclasses import dataclass, replace
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


FINDINGS = tuple(f"finding {n:02d}" for n in range(19))


@dataclass(frozen=True)
class FindingCase(ReadingCase):
    """Of several findings each is there or not; the rarest in one of twenty cases."""

    def load(self):
        rng = np.random.default_rng(self.number)
        present = rng.random(19) < np.linspace(0.05, 0.5, 19)
        values = rng.normal(0, 1, 48)
        values[:19] += 2 * present
        target = Classes(names=FINDINGS, probabilities=present.astype(float).tolist(), threshold=0.5)
        return Sample(id=self.id, inputs={"reading": Reading(values)}, target=target, group=self.group)


class Findings(Readings):
    def about(self, split):
        return replace(super().about(split), classes=dict(enumerate(FINDINGS)), cases=len(self.cases(split)))

    def digest(self, split):
        return f"findings-{split}"

    def cases(self, split):
        first, count = (0, 600) if split == "train" else (5000, 400)
        return [FindingCase(f"{split}-{n:03d}", first + n, f"{split}-{n}") for n in range(count)]


def open_findings(card, *, root, settings):
    return Findings()

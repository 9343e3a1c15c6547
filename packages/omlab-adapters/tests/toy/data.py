"""Pictures of stripes, computed."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from omlab import About, Sample
from omlab_payloads.classes import Classes
from omlab_payloads.scores import Scores

NAMES = ("across", "down", "both")


@dataclass(frozen=True, eq=False)
class Picture:
    kind: ClassVar[str] = "picture"
    values: np.ndarray


def picture(number: int) -> Picture:
    rng = np.random.default_rng(number)
    wave = np.sin(np.arange(8) * rng.uniform(1.8, 2.2) + rng.uniform(0, 2))
    across, down = np.tile(wave, (8, 1)), np.tile(wave, (8, 1)).T
    values = (across, down, across + down)[number % 3]
    return Picture((values + rng.normal(0, 0.1, (8, 8))).astype(np.float32))


@dataclass(frozen=True)
class StripesCase:
    id: str
    number: int
    target: str
    group: str | None = None

    @property
    def files(self):
        return {}

    def load(self):
        name = NAMES[self.number % 3]
        classes = Classes(names=NAMES, probabilities=[float(n == name) for n in NAMES])
        target = classes if self.target == "classes" else Scores(values={"angle": float(self.number % 3)})
        return Sample(id=self.id, inputs={"picture": picture(self.number)}, target=target)


@dataclass(frozen=True)
class Stripes:
    target: str

    def splits(self):
        return ["train", "test"]

    def prepare(self):
        pass

    def about(self, split):
        classes = dict(enumerate(NAMES)) if self.target == "classes" else {}
        return About(
            inputs={"picture": "picture"},
            target=self.target,
            task="classification",
            classes=classes,
            cases=len(self.cases(split)),
        )

    def digest(self, split):
        return f"stripes-{split}"

    def cases(self, split):
        first, count = (0, 90) if split == "train" else (999, 24)
        return [StripesCase(f"{split}-{n:02d}", first + n, self.target) for n in range(count)]

    def verify(self):
        return []


def open_stripes(card, *, root, settings):
    return Stripes(settings["target"])

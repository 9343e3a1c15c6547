"""Clips whose class is in their motion alone: a bright bar that stands or moves, at any height in any single frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from omlab import About, Sample
from omlab_payloads.classes import Classes
from omlab_video.clip import Clip

NAMES = ("stands", "moves")
FRAMES, SIDE, WIDTH, STEP = 8, 32, 8, 4


@dataclass(frozen=True)
class MotionCase:
    number: int

    @property
    def id(self) -> str:
        return f"clip{self.number}"

    @property
    def group(self) -> str:
        return self.id

    @property
    def files(self) -> dict[str, list[object]]:
        return {}

    def load(self) -> Sample:
        draws = np.random.default_rng(self.number)
        start = int(draws.integers(SIDE))
        frames = draws.normal(90, 15, (FRAMES, SIDE, SIDE, 1))
        moves = self.number % 2
        for time in range(FRAMES):
            rows = (start + moves * STEP * time + np.arange(WIDTH)) % SIDE
            frames[time, rows] += 100
        pixels = np.clip(frames, 0, 255).astype(np.uint8).repeat(3, axis=3)
        clip = Clip.of(pixels, rate=FRAMES / 8.5)
        shares = [1.0 - moves, float(moves)]
        return Sample(id=self.id, inputs={"clip": clip}, target=Classes(names=NAMES, probabilities=shares))


@dataclass(frozen=True)
class Motion:
    """A data set of so many clips a split."""

    count: int = 128

    def splits(self) -> Sequence[str]:
        return ["train", "test"]

    def prepare(self) -> None:
        pass

    def about(self, split: str) -> About:
        return About(inputs={"clip": "clip"}, target="classes", classes=dict(enumerate(NAMES)), cases=self.count)

    def digest(self, split: str) -> str:
        return f"{split}{self.count}"

    def cases(self, split: str) -> list[MotionCase]:
        first = 0 if split == "train" else 10_000
        return [MotionCase(number) for number in range(first, first + self.count)]

    def verify(self) -> list[str]:
        return []

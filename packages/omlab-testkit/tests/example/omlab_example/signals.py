from dataclasses import dataclass
from typing import ClassVar

import numpy as np


@dataclass(frozen=True, eq=False)
class Signal:
    kind: ClassVar[str] = "signal"
    array: np.ndarray
    affine: float

    def same_grid(self, other):
        return self.array.shape == other.array.shape and self.affine == other.affine


@dataclass(frozen=True, eq=False)
class Marks(Signal):
    kind: ClassVar[str] = "marks"


def example_signals():
    return [Signal(np.sin(np.arange(n) * step).astype(np.float32), step) for n, step in [(12, 0.5), (9, 0.25)]]


def example_marks():
    return [Marks((signal.array > 0.5).astype(np.uint8), signal.affine) for signal in example_signals()]


def odd_signals():
    nan = np.zeros(5, np.float32)
    nan[2] = np.nan
    return {"nan": Signal(nan, 1.0), "constant": Signal(np.ones(7, np.float32), 1.0), "one entry": Signal(nan[:1], 1.0)}

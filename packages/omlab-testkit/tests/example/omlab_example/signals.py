"""The kinds: a signal, marks on it, both at once; a signal is a row of voxels in space, (n, 1, 1)."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np


@dataclass(frozen=True, eq=False)
class Signal:
    kind: ClassVar[str] = "signal"
    array: np.ndarray
    step: float = 1.0
    start: float = 0.0

    @property
    def affine(self):
        affine = np.diag([self.step, 1.0, 1.0, 1.0])
        affine[0, 3] = self.start
        return affine

    @property
    def shape(self):
        return self.array.shape

    @property
    def nbytes(self):
        return int(self.array.nbytes)

    def is_finite(self):
        return bool(np.isfinite(self.array).all())

    def same_grid(self, other):
        return self.array.shape == other.array.shape and self.same_frame(other)

    def same_frame(self, other):
        return self.step == other.step and self.start == other.start


@dataclass(frozen=True, eq=False)
class Marks(Signal):
    kind: ClassVar[str] = "marks"

    def overlay(self, inputs, *, target=None):
        below = next(one for one in inputs.values() if getattr(one, "same_grid", lambda other: False)(self))
        return b"\x89PNG\r\n\x1a\n" + below.array.tobytes() + self.array.tobytes()


@dataclass(frozen=True, eq=False)
class Both:
    kind: ClassVar[str] = "both"
    signal: Signal
    marks: Marks

    def parts(self):
        return {"signal": self.signal, "marks": self.marks}


@dataclass(frozen=True)
class Note:
    kind: ClassVar[str] = "note"
    text: str

    def facets(self):
        return frozenset(["loud" if self.text.isupper() else "quiet"])


def row(values, dtype=np.float32):
    return np.array(values, dtype).reshape(-1, 1, 1)


def example_signals():
    return [Signal(row(np.sin(np.arange(n) * step)), step) for n, step in [(12, 0.5), (9, 0.25)]]


def example_marks():
    return [Marks((signal.array > 0.5).astype(np.uint8), signal.step) for signal in example_signals()]


def example_notes():
    return [Note("one, two"), Note("THREE")]


def odd_signals():
    nan = row([0, 0, np.nan, 0, 0])
    return {"nan": Signal(nan), "constant": Signal(row([1] * 7)), "one entry": Signal(nan[:1])}


@dataclass(frozen=True)
class Motion:
    payload: Signal
    target: Marks
    moved: Signal
    voxels: Any
    world: Any
    steps: int = 0
    exact: bool = False

    def result(self, result):
        return replace(result, array=np.roll(result.array, self.steps, axis=0), start=self.moved.start)


def _shift(by):
    matrix = np.eye(4)
    matrix[0, 3] = by
    return matrix


class SignalMotions:
    def boxes_agree(self, payload):
        return True

    def motions(self, payload, target):
        wide, marks = (replace(one, array=np.pad(one.array, ((20, 20), (0, 0), (0, 0)))) for one in (payload, target))
        moved = replace(wide, array=np.roll(wide.array, 7, axis=0))
        far = replace(payload, start=100.0)
        return {
            "another origin": Motion(payload, target, far, voxels=np.eye(4), world=_shift(100.0), exact=True),
            "moved content": Motion(wide, marks, moved, voxels=_shift(7), world=_shift(7 * wide.step), steps=7),
        }

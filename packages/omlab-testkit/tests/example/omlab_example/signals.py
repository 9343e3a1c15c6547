from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from omlab.prompts import Object, Point, Prompts


@dataclass(frozen=True, eq=False)
class Signal:
    kind: ClassVar[str] = "signal"
    array: np.ndarray
    affine: float
    name: str = ""

    def same_grid(self, other):
        return self.array.shape == other.array.shape and self.affine == other.affine


@dataclass(frozen=True, eq=False)
class Marks(Signal):
    kind: ClassVar[str] = "marks"

    def overlay(self, payload, *, prompts=None):
        return b"\x89PNG\r\n\x1a\n" + payload.array.tobytes() + self.array.tobytes()


def example_signals():
    return [Signal(np.sin(np.arange(n) * step).astype(np.float32), step) for n, step in [(12, 0.5), (9, 0.25)]]


def example_marks():
    return [Marks((signal.array > 0.5).astype(np.uint8), signal.affine) for signal in example_signals()]


def odd_signals():
    nan = np.zeros(5, np.float32)
    nan[2] = np.nan
    return {"nan": Signal(nan, 1.0), "constant": Signal(np.ones(7, np.float32), 1.0), "one entry": Signal(nan[:1], 1.0)}


def world(step):
    return np.diag([step, 1.0, 1.0, 1.0]).tolist()


@dataclass(frozen=True)
class Motion:
    payload: Signal
    target: Marks
    moved: Signal
    steps: int
    exact: bool = False

    def prompts(self, prompts):
        steps = self.steps * (1 if prompts.space == "voxel" else self.payload.affine)
        objects = tuple(
            entry.model_copy(
                update={"points": tuple(Point(at=(p.at[0] + steps, 0, 0), label=p.label) for p in entry.points)}
            )
            for entry in prompts.objects
        )
        return prompts.model_copy(update={"objects": objects})

    def prediction(self, prediction):
        return replace(prediction, array=np.roll(prediction.array, self.steps))


class SignalPrompts:
    def prompts(self, payload, target, *, space):
        at = len(payload.array) // 2 if target is None or not target.array.any() else int(target.array.argmax())
        entry = Object(name="crest", points=(Point(at=(at, 0, 0)),))
        prompts = Prompts(space="voxel", image=payload.name or "example", objects=(entry,))
        return prompts if space == "voxel" else prompts.in_world(world(payload.affine))

    def boxes_agree(self, payload):
        return True

    def named(self, payload, name):
        return replace(payload, name=name)

    def motions(self, payload, target):
        wide, marks = (np.pad(one.array, 20) for one in (payload, target))
        moved = replace(payload, array=np.roll(wide, 7))
        return {
            "moved content": Motion(replace(payload, array=wide), replace(target, array=marks), moved, steps=7),
        }

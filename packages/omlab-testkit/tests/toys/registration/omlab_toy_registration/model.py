import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from omlab_toy_scans.scan import Scan

from omlab.errors import InputError


@dataclass(frozen=True)
class Shift:
    """How far (mm) the moving volume went."""

    kind: ClassVar[str] = "shift"
    by: tuple[float, float, float]


@dataclass(frozen=True)
class Registration:
    kind: ClassVar[str] = "registration"
    warped: Scan
    transform: Shift

    def parts(self):
        return {"warped": self.warped, "transform": self.transform}


class ShiftJson:
    def read(self, path, *, kind):
        try:
            return Shift(tuple(json.loads(path.read_text())["by"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is no shift: {error}.") from error

    def write(self, payload, path, *, inputs):
        path.write_text(json.dumps({"by": payload.by}))


class Centres:
    """Brings the centres of mass together, by whole voxels of the fixed volume."""

    def register(self, batch, /):
        for inputs in batch:
            fixed, moving = inputs["fixed"], inputs["moving"]
            if not (fixed.is_finite() and moving.is_finite() and fixed.array.any() and moving.array.any()):
                yield InputError("A volume is empty or has values that are not finite.")
                continue
            here, there = (
                np.array(np.nonzero(one.array > one.array.max() / 2)).mean(axis=1) for one in (fixed, moving)
            )
            steps = tuple(int(step) for step in np.round(here - there))
            warped = np.zeros_like(fixed.array)
            inner = tuple(slice(0, min(a, b)) for a, b in zip(fixed.shape, moving.shape, strict=True))
            warped[inner] = np.roll(moving.array, steps, axis=(0, 1, 2))[inner]
            by = tuple(float(step) for step in fixed.affine[:3, :3] @ steps)
            yield Registration(Scan(warped, fixed.affine), Shift(by))


def load(card, *, weights, needs, device, settings, config):
    return Centres()


def example_shifts():
    return [Shift((1.0, 0.0, -2.5)), Shift((0.0, 0.0, 0.0)), Shift((3.0, 4.0, 5.0))]

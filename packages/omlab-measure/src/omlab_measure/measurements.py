"""The payload `measurements`: figures of every structure of one label map, each with its unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from omlab.errors import UsageError
from omlab.payloads import Inputs, Payload, describe
from omlab_measure.structures import INTENSITY, UNITS, Position, Structure
from omlab_payloads import checked

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """What was measured in one label map.

    Attributes:
        structures: By value.
        labelmap: Name of its file; "" where it was not read from one.
        image: Likewise of the image; "" where there was none.
        intensity_unit: Of intensities, such as `HU`; "" where it is not known.
        bin_width: Of entropy and uniformity.
    """

    kind: ClassVar[str] = "measurements"

    structures: Sequence[Structure]
    labelmap: str = ""
    image: str = ""
    intensity_unit: str = ""
    bin_width: float = 25.0

    def is_finite(self) -> bool:
        """Whether no figure is NaN or infinite."""
        return all(
            value is None or math.isfinite(value) for entry in self.structures for value in entry.figures.values()
        )

    def units(self) -> dict[str, str]:
        """The unit of every figure that some structure has; "" for those without."""
        names = [name for name in UNITS if any(name in entry.figures for entry in self.structures)]
        return {name: self.intensity_unit if UNITS[name] == INTENSITY else UNITS[name] for name in names}

    def overlay(self, inputs: Inputs, *, target: Payload | None = None) -> bytes:
        """A PNG of the largest structures with their axes over the volume and the label map among `inputs`.

        Raises `UsageError` where one of them is not there.
        """
        from omlab_measure.picture import picture
        from omlab_volume.volume import LabelMap, Volume

        volume = next((one for one in inputs.values() if isinstance(one, Volume)), None)
        labelmap = next((one for one in inputs.values() if isinstance(one, LabelMap)), None)
        if volume is None or labelmap is None:
            given = ", ".join(describe(one) for one in inputs.values()) or "nothing"
            raise UsageError(f"Measurements are drawn over a volume and a label map, but {given} was given.")
        return picture(self.structures, volume, labelmap)

    def to_value(self) -> dict[str, Any]:
        """JSON, of which `from_value` makes it again."""
        return {
            "version": VERSION,
            "labelmap": self.labelmap,
            "image": self.image,
            "intensity_unit": self.intensity_unit,
            "bin_width": self.bin_width,
            "units": self.units(),
            "structures": [_value(entry) for entry in self.structures],
        }

    @classmethod
    def from_value(cls, value: Any) -> Measurements:
        """The measurements of `to_value`'s JSON. Raises `UsageError`."""
        known = ("labelmap", "image", "intensity_unit", "bin_width", "units")
        found = checked.fields(value, required=("version", "structures"), known=known, what="A file of measurements")
        if found["version"] != VERSION:
            raise UsageError(f"These measurements are of version {checked.brief(found['version'])}, not {VERSION}.")
        rows = enumerate(checked.entries(found["structures"], name="structures"), start=1)
        return cls(
            structures=[_structure(row, number) for number, row in rows],
            labelmap=checked.text(found.get("labelmap", ""), name="labelmap"),
            image=checked.text(found.get("image", ""), name="image"),
            intensity_unit=checked.text(found.get("intensity_unit", ""), name="intensity_unit"),
            bin_width=checked.number(found.get("bin_width", 25.0), name="bin_width"),
        )


def _value(entry: Structure) -> dict[str, Any]:
    head: dict[str, Any] = {"value": entry.value, "name": entry.name}
    if entry.code is not None:
        head["code"] = dict(zip(("value", "scheme", "meaning"), entry.code, strict=True))
    figures = {name: None if value is None else checked.plain(value) for name, value in entry.figures.items()}
    lines = {name: [list(end) for end in ends] for name, ends in entry.lines.items()}
    return {**head, "touches_edge": entry.touches_edge, "figures": figures, "lines": lines}


def _structure(row: Any, number: int) -> Structure:
    what = f"Structure {number}"
    found = checked.fields(
        row, required=("value", "name", "figures"), known=("code", "touches_edge", "lines"), what=what
    )
    if type(found["value"]) is not int or found["value"] < 1:
        raise UsageError(f"'value' of structure {number} must be a whole number from 1.")
    code = found.get("code")
    if code is not None:
        parts = checked.fields(code, required=("value", "scheme", "meaning"), known=(), what=f"The code of {what}")
        code = tuple(checked.text(parts[name], name=name) for name in ("value", "scheme", "meaning"))
    figures = {
        name: None if value is None else checked.number(value, name=name)
        for name, value in checked.table(found["figures"], name="figures").items()
    }
    lines = {name: _line(ends, name=name) for name, ends in checked.table(found.get("lines", {}), name="lines").items()}
    return Structure(
        value=found["value"],
        name=checked.text(found["name"], name="name"),
        figures=figures,
        lines=lines,
        code=code,
        touches_edge=bool(found.get("touches_edge", False)),
    )


def _line(value: Any, *, name: str) -> tuple[Position, Position]:
    ends = [_position(end, name=name) for end in checked.entries(value, name=name)]
    if len(ends) != 2:
        raise UsageError(f"'{name}' must have two ends, not {checked.brief(value)}.")
    return (ends[0], ends[1])


def _position(value: Any, *, name: str) -> Position:
    numbers = checked.numbers(value, name=name)
    if len(numbers) != 3:
        raise UsageError(f"An end of '{name}' must have three numbers, not {checked.brief(value)}.")
    return (numbers[0], numbers[1], numbers[2])

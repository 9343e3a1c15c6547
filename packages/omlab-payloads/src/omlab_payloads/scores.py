"""The kind `scores`: one or several named numbers, such as an ejection fraction or the score of a sequence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from omlab.errors import UsageError
from omlab_payloads import checked


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Named numbers of one case, and the unit of those that have one.

    Raises `UsageError` where there is no number, a unit of none, or a unit with square brackets.
    """

    kind: ClassVar[str] = "scores"

    values: Mapping[str, float]
    units: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        values = {str(name): float(value) for name, value in self.values.items()}
        units = {str(name): str(unit) for name, unit in self.units.items() if unit}
        if not values:
            raise UsageError("Scores need at least one number.")
        stray = [name for name in units if name not in values]
        if stray:
            raise UsageError(f"There is a unit of '{stray[0]}', but no such score; there are {', '.join(values)}.")
        bracketed = [unit for unit in units.values() if "[" in unit or "]" in unit]
        if bracketed:
            raise UsageError(f"The unit '{bracketed[0]}' has a bracket: in tables these stand around units.")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "units", units)

    @property
    def nbytes(self) -> int:
        """About the bytes of the numbers."""
        return 8 * len(self.values)

    def is_finite(self) -> bool:
        """Whether no number is NaN or infinite."""
        return all(math.isfinite(value) for value in self.values.values())

    def to_value(self) -> dict[str, Any]:
        """JSON, of which `from_value` makes it again."""
        numbers = {name: checked.plain(value) for name, value in self.values.items()}
        return {"values": numbers} | ({"units": dict(self.units)} if self.units else {})

    @classmethod
    def from_value(cls, value: Any) -> Scores:
        """The scores of `{"values": {name: ...}, "units": {name: ...}}`. Raises `UsageError`."""
        found = checked.fields(value, required=("values",), known=("units",), what="Scores")
        numbers, units = (checked.table(found.get(name, {}), name=name) for name in ("values", "units"))
        return cls(
            values={name: checked.number(part, name=name) for name, part in numbers.items()},
            units={name: checked.text(part, name=name) for name, part in units.items()},
        )

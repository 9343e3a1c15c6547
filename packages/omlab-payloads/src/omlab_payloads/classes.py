"""The kind `classes`: how probable each class is in one case."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from omlab.errors import UsageError
from omlab_payloads import checked

_SAID = 3
"""Classes that a line has room for."""
_NUMBERS = ("threshold", "set_level", "set_coverage")


@dataclass(frozen=True, kw_only=True)
class Classes:
    """Probabilities of classes in one case.

    Attributes:
        names: Of the classes, each once.
        probabilities: Of each, from 0 to 1, in the order of `names`.
        threshold: None: exactly one class is right (single-label), the most probable is predicted. A number: each
            class is right or not by itself (multi-label), and those from `threshold` on are predicted.
        set_level: From which probability on a class is in the prediction set; None: there is no set.
        set_coverage: In what share of cases such sets were made to hold all that is right. Both are there, or neither.

    Raises `UsageError` where names and probabilities do not fit, or a number is no probability.
    """

    kind: ClassVar[str] = "classes"

    names: Sequence[str]
    probabilities: Sequence[float]
    threshold: float | None = None
    set_level: float | None = None
    set_coverage: float | None = None

    def __post_init__(self) -> None:
        names = tuple(str(name) for name in self.names)
        probabilities = tuple(float(value) for value in self.probabilities)
        if not names or len(names) != len(probabilities) or len(set(names)) != len(names):
            raise UsageError(
                f"Classes need different names and a probability for each: {len(names)} names ({len(set(names))} "
                f"different), {len(probabilities)} probabilities."
            )
        if (self.set_level is None) != (self.set_coverage is None):
            raise UsageError("A prediction set has a level and a coverage: one of both is missing.")
        others = {name: getattr(self, name) for name in _NUMBERS}
        shown = {f"the {name.replace('_', ' ')}": value or 0.0 for name, value in others.items()}
        for name, value in (*zip(names, probabilities, strict=True), *shown.items()):
            if value < 0 or value > 1:
                raise UsageError(f"'{name}' is {value:g}, but a probability lies between 0 and 1.")
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "probabilities", probabilities)
        for name, value in others.items():
            object.__setattr__(self, name, None if value is None else float(value))

    @property
    def predicted(self) -> tuple[str, ...]:
        """The predicted classes: one, or those that reach the threshold; a probability of NaN is never one."""
        known = [(name, value) for name, value in zip(self.names, self.probabilities, strict=True) if value == value]
        if self.threshold is not None:
            return tuple(name for name, value in known if value >= self.threshold)
        return (max(known, key=lambda row: row[1])[0],) if known else ()

    @property
    def prediction_set(self) -> tuple[str, ...] | None:
        """The classes that may be right: from the set's level on; where one is right, the most probable in any case."""
        if self.set_level is None:
            return None
        sure = self.predicted if self.threshold is None else ()
        pairs = zip(self.names, self.probabilities, strict=True)
        return tuple(name for name, value in pairs if value >= self.set_level or name in sure)

    def present(self) -> dict[int, str]:
        """The predicted classes, by their place among the names."""
        return {self.names.index(name): name for name in self.predicted}

    def in_words(self) -> str:
        """The most probable classes with their probabilities; of several right ones those that are predicted first."""
        ranked = sorted(zip(self.names, self.probabilities, strict=True), key=lambda row: (row[1] != row[1], -row[1]))
        shown = ", ".join(f"{name} {value:.3f}" for name, value in ranked[:_SAID])
        left = len(ranked) - _SAID
        said = f"{shown}, and {left} more" if left > 0 else shown
        if self.threshold is None:
            return said
        return f"{' and '.join(self.predicted) or 'none'} ({said})"

    @property
    def nbytes(self) -> int:
        """About the bytes of the probabilities."""
        return 8 * len(self.probabilities)

    def is_finite(self) -> bool:
        """Whether no probability is NaN."""
        return all(math.isfinite(value) for value in self.probabilities)

    def to_value(self) -> dict[str, Any]:
        """JSON, of which `from_value` makes it again; `predicted` and `set` stand in it for readers."""
        pairs = zip(self.names, self.probabilities, strict=True)
        value: dict[str, Any] = {"probabilities": {name: checked.plain(part) for name, part in pairs}}
        if self.threshold is not None:
            value["threshold"] = self.threshold
        if self.prediction_set is not None:
            level, coverage = self.set_level, self.set_coverage
            value |= {"set_level": level, "set_coverage": coverage, "set": list(self.prediction_set)}
        return value | {"predicted": list(self.predicted)}

    @classmethod
    def from_value(cls, value: Any) -> Classes:
        """The classes of `{"probabilities": {name: ...}, "threshold": ...}`. Raises `UsageError`."""
        found = checked.fields(
            value, required=("probabilities",), known=(*_NUMBERS, "predicted", "set"), what="A case's classes"
        )
        parts = checked.table(found["probabilities"], name="probabilities")
        numbers = {name: found[name] for name in _NUMBERS if found.get(name) is not None}
        return cls(
            names=tuple(parts),
            probabilities=[checked.number(part, name=name) for name, part in parts.items()],
            **{name: checked.number(part, name=name) for name, part in numbers.items()},
        )

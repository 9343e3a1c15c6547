"""The kind `classes`: how probable each class is in one case."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from omlab.errors import UsageError
from omlab_payloads import checked


@dataclass(frozen=True, kw_only=True)
class Classes:
    """Probabilities of classes in one case.

    Attributes:
        names: Of the classes, each once.
        probabilities: Of each, from 0 to 1, in the order of `names`.
        threshold: None: exactly one class is right (single-label), the most probable is predicted. A number: each
            class is right or not by itself (multi-label), and those from `threshold` on are predicted.

    Raises `UsageError` where names and probabilities do not fit, or a number is no probability.
    """

    kind: ClassVar[str] = "classes"

    names: Sequence[str]
    probabilities: Sequence[float]
    threshold: float | None = None

    def __post_init__(self) -> None:
        names = tuple(str(name) for name in self.names)
        probabilities = tuple(float(value) for value in self.probabilities)
        if not names or len(names) != len(probabilities) or len(set(names)) != len(names):
            raise UsageError(
                f"Classes need different names and a probability for each: {len(names)} names ({len(set(names))} "
                f"different), {len(probabilities)} probabilities."
            )
        for name, value in (*zip(names, probabilities, strict=True), ("the threshold", self.threshold or 0.0)):
            if value < 0 or value > 1:
                raise UsageError(f"'{name}' is {value:g}, but a probability lies between 0 and 1.")
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "probabilities", probabilities)
        object.__setattr__(self, "threshold", None if self.threshold is None else float(self.threshold))

    @property
    def predicted(self) -> tuple[str, ...]:
        """The predicted classes: one, or those that reach the threshold; a probability of NaN is never one."""
        known = [(name, value) for name, value in zip(self.names, self.probabilities, strict=True) if value == value]
        if self.threshold is not None:
            return tuple(name for name, value in known if value >= self.threshold)
        return (max(known, key=lambda row: row[1])[0],) if known else ()

    def present(self) -> dict[int, str]:
        """The predicted classes, by their place among the names."""
        return {self.names.index(name): name for name in self.predicted}

    @property
    def nbytes(self) -> int:
        """About the bytes of the probabilities."""
        return 8 * len(self.probabilities)

    def is_finite(self) -> bool:
        """Whether no probability is NaN."""
        return all(math.isfinite(value) for value in self.probabilities)

    def to_value(self) -> dict[str, Any]:
        """JSON, of which `from_value` makes it again; `predicted` stands in it for readers."""
        pairs = zip(self.names, self.probabilities, strict=True)
        value: dict[str, Any] = {"probabilities": {name: checked.plain(part) for name, part in pairs}}
        if self.threshold is not None:
            value["threshold"] = self.threshold
        return value | {"predicted": list(self.predicted)}

    @classmethod
    def from_value(cls, value: Any) -> Classes:
        """The classes of `{"probabilities": {name: ...}, "threshold": ...}`. Raises `UsageError`."""
        found = checked.fields(
            value, required=("probabilities",), known=("threshold", "predicted"), what="A case's classes"
        )
        parts = checked.table(found["probabilities"], name="probabilities")
        threshold = found.get("threshold")
        return cls(
            names=tuple(parts),
            probabilities=[checked.number(part, name=name) for name, part in parts.items()],
            threshold=None if threshold is None else checked.number(threshold, name="threshold"),
        )

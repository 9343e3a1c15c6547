"""The kinds `variants` and `variant-scores`: substitutions in a protein, and a number for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from omlab.errors import UsageError
from omlab.payloads import Inputs, Payload
from omlab_protein import sequence
from omlab_protein.substitutions import check_wild_type, parse

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Variants:
    """Mutants of one protein, and what was measured of each where that is known (`measured`, one a mutant).

    Raises `InputError` where a text is no mutant, `UsageError` where there is none, or the numbers do not fit.
    """

    kind: ClassVar[str] = "variants"

    mutants: Sequence[str]
    measured: Sequence[float] | None = None

    def __post_init__(self) -> None:
        mutants = tuple(self.mutants)
        if not mutants:
            raise UsageError("There is no variant.")
        for mutant in mutants:
            parse(mutant)
        object.__setattr__(self, "mutants", mutants)
        if self.measured is not None:
            measured = tuple(float(value) for value in self.measured)
            if len(measured) != len(mutants):
                raise UsageError(f"There are {len(mutants)} variants, but {len(measured)} measured values.")
            object.__setattr__(self, "measured", measured)

    @property
    def nbytes(self) -> int:
        """About the bytes that it holds."""
        return 64 * len(self.mutants)

    def is_finite(self) -> bool:
        """Whether every measured value is a number."""
        import math

        return self.measured is None or all(map(math.isfinite, self.measured))

    def check_belongs(self, inputs: Inputs) -> None:
        """Raise `InputError` where a mutant does not fit the sequence beside it."""
        for payload in inputs.values():
            if isinstance(payload, sequence.Sequence):
                for mutant in self.mutants:
                    check_wild_type(parse(mutant), payload.letters, mutant=mutant)


@dataclass(frozen=True, eq=False, kw_only=True)
class VariantScores:
    """A score (float64, (variants,)) for each mutant of a protein: larger is better. `measured` as in `Variants`.

    Raises `UsageError` where the numbers do not fit.
    """

    kind: ClassVar[str] = "variant-scores"

    mutants: Sequence[str]
    scores: NDArray[np.float64]
    measured: Sequence[float] | None = None

    def __post_init__(self) -> None:
        import numpy as np

        checked = Variants(mutants=self.mutants, measured=self.measured)
        scores = np.asarray(self.scores, dtype=np.float64)
        if scores.shape != (len(checked.mutants),):
            raise UsageError(f"There are {len(checked.mutants)} variants, but scores of shape {scores.shape}.")
        object.__setattr__(self, "mutants", checked.mutants)
        object.__setattr__(self, "measured", checked.measured)
        object.__setattr__(self, "scores", scores)

    @property
    def nbytes(self) -> int:
        """About the bytes that it holds."""
        return 72 * len(self.mutants)

    def is_finite(self) -> bool:
        """Whether every score is a number."""
        import numpy as np

        return bool(np.isfinite(self.scores).all())

    def in_words(self) -> str:
        """The best variants."""
        best = self.scores.argsort(kind="stable")[::-1][:3]
        return "best: " + ", ".join(f"{self.mutants[n]} ({self.scores[n]:.3f})" for n in best)

    def overlay(self, inputs: Inputs, *, target: Payload | None = None) -> bytes:
        """A PNG of the single mutants: positions to the right, residues (`RESIDUES`) down. Raises `UsageError`."""
        from omlab_protein.heatmap import heat_map

        return heat_map(self.mutants, self.scores)

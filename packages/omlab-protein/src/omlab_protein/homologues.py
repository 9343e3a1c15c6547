"""The kind `homologues`: proteins of a family, aligned to one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from omlab.errors import InputError, UsageError
from omlab.payloads import Inputs
from omlab_protein import sequence

GAP = "-"


@dataclass(frozen=True, kw_only=True)
class Homologues:
    """Rows of an alignment, a letter or `GAP` for each residue of the query: the first row, which has no gap.

    Raises `UsageError` where there is no row, or they are not of one length.
    """

    kind: ClassVar[str] = "homologues"

    rows: Sequence[str]

    def __post_init__(self) -> None:
        rows = tuple(self.rows)
        if not rows or GAP in rows[0] or not rows[0]:
            raise UsageError("The first row of homologues is the query, without gaps, but there is none.")
        if any(len(row) != len(rows[0]) for row in rows):
            raise UsageError("The rows of homologues are of several lengths.")
        object.__setattr__(self, "rows", rows)

    @property
    def nbytes(self) -> int:
        """Bytes of the letters."""
        return sum(map(len, self.rows))

    def begin(self, letters: str) -> int:
        """How many residues of a sequence stand before the query. Raises `InputError` where it is no part of it."""
        query = self.rows[0]
        begin = letters.find(query)
        if begin >= 0:
            return begin
        at = next((n for n, pair in enumerate(zip(query, letters, strict=False)) if pair[0] != pair[1]), len(letters))
        what = f"its residue {at + 1} is {query[at]}, and the sequence has {letters[at : at + 1] or 'nothing'} there"
        raise InputError(f"The first row of the homologues is not the sequence, or a part of it: {what}.")

    def check_belongs(self, inputs: Inputs) -> None:
        """Raise `InputError` where the query is no part of the sequence beside it."""
        for payload in inputs.values():
            if isinstance(payload, sequence.Sequence):
                self.begin(payload.letters)

"""The kind `sequence`: the residues of a protein."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from omlab.errors import InputError
from omlab_protein.alphabet import LETTERS


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """Residues by their one-letter codes, in capitals, and the name of the protein where it is known.

    Raises `InputError` where there is no residue, or a letter is none; spaces and line ends are left out.
    """

    kind: ClassVar[str] = "sequence"

    letters: str
    name: str = ""

    def __post_init__(self) -> None:
        letters = "".join(self.letters.split()).upper()
        of = f" of {self.name}" if self.name else ""
        if not letters:
            raise InputError(f"The sequence{of} has no residues.")
        for place, letter in enumerate(letters, start=1):
            if letter not in LETTERS:
                raise InputError(
                    f"Residue {place}{of} is '{letter}', which is no letter of proteins: gaps and stops have to go."
                )
        object.__setattr__(self, "letters", letters)

    @property
    def nbytes(self) -> int:
        """Bytes of the letters."""
        return len(self.letters)

    def to_value(self) -> str:
        """JSON, of which `from_value` makes it again."""
        return self.letters

    @classmethod
    def from_value(cls, value: Any) -> Sequence:
        """The sequence of a text of residues, as a cell of a table has it. Raises `InputError`."""
        return cls(letters=str(value))

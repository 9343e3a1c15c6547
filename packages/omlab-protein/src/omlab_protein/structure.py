"""The kind `structure`: the atoms of a protein, and which of its residues are which of a sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from omlab.errors import InputError
from omlab.payloads import Inputs
from omlab_protein import sequence

ANY = "X"
"""A residue that is not known: it fits every letter."""


class Residue(NamedTuple):
    """A residue that was seen: its number in the file, insertion code ("" where there is none), and letter."""

    number: int
    insertion: str
    letter: str


@dataclass(frozen=True, kw_only=True)
class Structure:
    """A structure as the text of a PDB file, the amino acids of each of its chains, and the name of its file."""

    kind: ClassVar[str] = "structure"

    pdb: str
    chains: Mapping[str, Sequence[Residue]]
    name: str = "the structure"

    @property
    def nbytes(self) -> int:
        """Bytes of the text."""
        return len(self.pdb)

    def check_belongs(self, inputs: Inputs) -> None:
        """Raise `InputError` where no chain is a part of the sequence beside it."""
        for payload in inputs.values():
            if isinstance(payload, sequence.Sequence):
                self.positions(payload.letters)

    def positions(self, letters: str) -> dict[tuple[str, int, str], int]:
        """The position in a sequence, from 1, of each residue (chain, number, insertion) of the chains that fit it.

        A chain fits where every residue is the one of the sequence: by its number, by its number and one shift for
        the whole chain (so that residues that were not seen stay gaps), or, where that cannot be, as an unbroken
        piece of the sequence. Raises `InputError` where none fits, or one fits at several places.
        """
        found: dict[tuple[str, int, str], int] = {}
        for chain, residues in self.chains.items():
            begins = _places(residues, letters)
            if len(begins) > 1:
                raise InputError(f"Chain {chain} of {self.name} fits the sequence at {len(begins)} places.")
            for positions in begins:
                found |= {(chain, one.number, one.insertion): at for one, at in zip(residues, positions, strict=True)}
        if not found:
            raise InputError(self._misfit(letters))
        return found

    def _misfit(self, letters: str) -> str:
        """Why no chain fits: the first residue that differs, of the chain and the shift that fit best."""
        best = (-1, "", Residue(0, "", ""), 0)
        for chain, residues in self.chains.items():
            for shift in _shifts(residues, letters):
                wrong = [one for one in residues if not _is(letters, one.number + shift, one.letter)]
                right = len(residues) - len(wrong)
                if wrong and right > best[0]:
                    best = (right, chain, wrong[0], wrong[0].number + shift)
        _, chain, residue, at = best
        if not chain:
            return f"No chain of {self.name} is as short as the sequence of {len(letters)} residues."
        return (
            f"No chain of {self.name} fits the sequence; chain {chain} comes closest, but its residue "
            f"{residue.number}{residue.insertion} is {residue.letter}, and the sequence has "
            f"{letters[at - 1 : at] or 'nothing'} at {at}."
        )


def _places(residues: Sequence[Residue], letters: str) -> list[list[int]]:
    """The ways in which all residues of a chain lie in a sequence: one is as it should be."""
    if not any(one.insertion for one in residues):
        shifts = [
            shift
            for shift in _shifts(residues, letters)
            if all(_is(letters, one.number + shift, one.letter) for one in residues)
        ]
        if shifts:
            return [[one.number + shift for one in residues] for shift in ([0] if 0 in shifts else shifts)]
    count = len(residues)
    begins = [
        begin
        for begin in range(1, len(letters) - count + 2)
        if all(_is(letters, begin + n, one.letter) for n, one in enumerate(residues))
    ]
    return [[*range(begin, begin + count)] for begin in begins]


def _shifts(residues: Sequence[Residue], letters: str) -> Sequence[int]:
    """What may be added to a chain's numbers so that all of them are positions of the sequence."""
    numbers = [one.number for one in residues]
    return range(1 - min(numbers), len(letters) - max(numbers) + 1)


def _is(letters: str, position: int, letter: str) -> bool:
    return 1 <= position <= len(letters) and (letter == ANY or letters[position - 1] in (letter, ANY))

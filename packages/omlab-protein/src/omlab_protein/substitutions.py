"""Substitutions: what a text such as `A23G:L30P` says, and whether it fits a sequence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from omlab.errors import InputError
from omlab_protein.alphabet import LETTERS, RESIDUES

WILD_TYPE = "WT"
_SUBSTITUTION = re.compile(r"([A-Z])([1-9]\d{0,8})([A-Z])")


class Substitution(NamedTuple):
    """One residue in place of another; `position` counts from 1."""

    old: str
    position: int
    new: str


def parse(mutant: str) -> tuple[Substitution, ...]:
    """The substitutions of a text such as `A23G:L30P`; none for `WT`. Raises `InputError` that shows the text."""
    if mutant == WILD_TYPE:
        return ()
    found = []
    for part in mutant.split(":"):
        match = _SUBSTITUTION.fullmatch(part)
        if match is None or not {match[1], match[3]} <= LETTERS:
            raise InputError(
                f"'{mutant[:40]}' is no mutant: write A23G (old residue, position from 1, new residue), several "
                "joined by ':', or WT."
            )
        found.append(Substitution(match[1], int(match[2]), match[3]))
    places = [one.position for one in found]
    if len(set(places)) != len(places):
        raise InputError(f"'{mutant[:40]}' changes one position twice.")
    return tuple(found)


def written(substitutions: Sequence[Substitution]) -> str:
    """The text that `parse` reads."""
    return ":".join(f"{old}{position}{new}" for old, position, new in substitutions) or WILD_TYPE


def check_wild_type(substitutions: Sequence[Substitution], letters: str, *, mutant: str) -> None:
    """Raise `InputError` where the sequence has another residue at a site than the mutant says, or no such site."""
    for old, position, _ in substitutions:
        if position > len(letters):
            raise InputError(f"Mutant {mutant} has position {position}, but the sequence has {len(letters)} residues.")
        there = letters[position - 1]
        if there != old:
            raise InputError(
                f"Mutant {mutant} says that residue {position} is {old}, but it is {there} in the sequence: is this "
                "the right protein, and are positions counted from its first residue?"
            )


def mutated(letters: str, substitutions: Sequence[Substitution]) -> str:
    """The sequence with the substitutions made."""
    changed = list(letters)
    for _, position, new in substitutions:
        changed[position - 1] = new
    return "".join(changed)


def all_single(letters: str) -> Iterator[str]:
    """Every single mutant: by position, then by `RESIDUES`, without the residue that is there."""
    for position, old in enumerate(letters, start=1):
        yield from (f"{old}{position}{new}" for new in RESIDUES if new != old)

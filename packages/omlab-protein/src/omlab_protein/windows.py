"""Windows: which residues of a long sequence are looked at, so that the sites of mutants lie in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError
from omlab_protein.substitutions import Substitution

Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Window:
    """Residues [start, stop) of a sequence, counted from 0, and the numbers of the mutants that lie in it."""

    start: int
    stop: int
    kept: Numbers

    @property
    def offset(self) -> int:
        """The position (from 1) of its first residue."""
        return self.start + 1


def window_for(mutants: Sequence[Sequence[Substitution]], *, length: int, longest: int) -> Window:
    """The window of at most `longest` residues of PRIME (2023) for these mutants.

    All sites among the first residues: those. Else, where all fit into a window: the longer of the residues from the
    first site on and those up to the last site (on a tie these). Else the window that ends at a residue and holds most
    mutants, the first such; mutants outside of it are not kept.
    """
    return _window(*spans(mutants), length=length, longest=longest)


def windows_for(first: Numbers, last: Numbers, *, length: int, longest: int) -> Iterator[Window]:
    """Windows that keep every mutant between them: `window_for`, again for those that the one before did not keep.

    Args:
        first: Each mutant's first site, counted from 0; -1 for the wild type.
        last: Its last site.
        length: Residues of the sequence.
        longest: Residues of a window.

    Raises:
        InputError: The sites of one mutant lie further apart than a window is long.
    """
    wide = np.flatnonzero(last - first >= longest)
    if len(wide) and length > longest:
        raise InputError(
            f"The sites {first[wide[0]] + 1} and {last[wide[0]] + 1} of one mutant do not fit into a window of "
            f"{longest} residues."
        )
    left = np.arange(len(first))
    while len(left):
        found = _window(first[left], last[left], length=length, longest=longest)
        yield Window(found.start, found.stop, left[found.kept])
        left = np.delete(left, found.kept)


def spans(mutants: Sequence[Sequence[Substitution]]) -> tuple[Numbers, Numbers]:
    """The first and the last site of each mutant, counted from 0; -1 for the wild type."""
    sites = [[one.position - 1 for one in mutant] or [-1] for mutant in mutants]
    return np.array([min(one) for one in sites], np.int64), np.array([max(one) for one in sites], np.int64)


def _window(first: Numbers, last: Numbers, *, length: int, longest: int) -> Window:
    everything, sited = np.arange(len(first)), first >= 0
    if length <= longest or not sited.any() or last.max() < longest:
        return Window(0, min(length, longest), everything)
    lowest, highest = int(first[sited].min()), int(last.max())
    if highest - lowest < longest:
        onwards, upto = (lowest, min(lowest + longest, length)), (max(highest + 1 - longest, 0), highest + 1)
        start, stop = onwards if onwards[1] - onwards[0] > upto[1] - upto[0] else upto
        return Window(start, stop, everything)
    # a mutant lies in the windows that end after its last site and begin no later than at its first
    held = np.zeros(length + longest + 2, np.int64)
    fits = sited & (last - first < longest)
    np.add.at(held, last[fits] + 1, 1)
    np.add.at(held, first[fits] + longest + 1, -1)
    ends = np.cumsum(held)[lowest + 1 : highest + 2]
    stop = lowest + 1 + int(ends.argmax())
    kept = np.flatnonzero(~sited | ((first >= stop - longest) & (last < stop)))
    start = max(stop - longest, 0)
    return Window(start, start + longest, kept)

"""Windows: which residues of a long sequence are looked at, so that the sites of mutants lie in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from omlab.errors import InputError
from omlab_protein.substitutions import Substitution


@dataclass(frozen=True)
class Window:
    """Residues [start, stop) of a sequence, counted from 0, and the numbers of the mutants that lie in it."""

    start: int
    stop: int
    kept: tuple[int, ...]

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
    everything = tuple(range(len(mutants)))
    sites = [one.position - 1 for mutant in mutants for one in mutant]
    if length <= longest or not sites or max(sites) < longest:
        return Window(0, min(length, longest), everything)
    first, last = min(sites), max(sites)
    if last - first < longest:
        onwards, upto = (first, min(first + longest, length)), (max(last + 1 - longest, 0), last + 1)
        start, stop = onwards if onwards[1] - onwards[0] > upto[1] - upto[0] else upto
        return Window(start, stop, everything)
    best: Window | None = None
    for stop in range(first + 1, last + 2):
        start = max(stop - longest, first)
        kept = tuple(n for n in everything if all(start <= one.position - 1 < stop for one in mutants[n]))
        if best is None or len(kept) > len(best.kept):
            best = Window(max(stop - longest, 0), stop, kept)
    assert best is not None
    return best if best.stop - best.start == longest else Window(best.start, best.start + longest, best.kept)


def windows_for(mutants: Sequence[Sequence[Substitution]], *, length: int, longest: int) -> Iterator[Window]:
    """Windows that keep every mutant between them: `window_for`, again for those that the one before did not keep.

    Raises `InputError` where the sites of one mutant lie further apart than a window is long.
    """
    for mutant in mutants:
        sites = [one.position for one in mutant]
        if sites and max(sites) - min(sites) >= longest:
            raise InputError(
                f"The sites {min(sites)} and {max(sites)} of one mutant do not fit into a window of {longest} residues."
            )
    left = list(range(len(mutants)))
    while left:
        found = window_for([mutants[n] for n in left], length=length, longest=longest)
        kept = tuple(left[n] for n in found.kept)
        yield Window(found.start, found.stop, kept)
        left = [n for n in left if n not in set(kept)]

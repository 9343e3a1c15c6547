"""Scores of mutants averaged over a family: what a substitution would be worth in each homologue.

A homologue's score of A23G is log p(G) - log p(A) at the residue that is aligned to position 23, seen in the homologue;
the mean is over the protein itself and the homologues that have a residue at every site of the mutant. Contexts
differ where the effect does not, so that their mean is less noisy than one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab_protein.homologues import GAP, Homologues
from omlab_protein.roles import ResidueNetwork
from omlab_protein.scoring import score
from omlab_protein.substitutions import Substitution, parse, written


def family_score(
    network: ResidueNetwork, letters: str, homologues: Homologues, mutants: Sequence[str], **how: Any
) -> NDArray[np.float64]:
    """The mean score (mutants,) over a protein and its homologues; `how`: options of `omlab_protein.scoring.score`.

    Raises `InputError` where the query is no part of the sequence, and what `score` raises.
    """
    begin = homologues.begin(letters)
    total, count = score(network, letters, mutants, **how), np.ones(len(mutants))
    parsed = [parse(mutant) for mutant in mutants]
    for row in homologues.rows[1:]:
        place = _places(row, begin=begin)
        kept = [n for n, mutant in enumerate(parsed) if all(one.position in place for one in mutant)]
        if not kept:
            continue
        own = row.replace(GAP, "")
        new = [_moved(parsed[n], own, place, to_new=True) for n in kept]
        old = [_moved(parsed[n], own, place, to_new=False) for n in kept]
        found = score(network, own, [*new, *old], **how)
        total[kept] += found[: len(kept)] - found[len(kept) :]
        count[kept] += 1
    return np.asarray(total / count)


def _places(row: str, *, begin: int) -> dict[int, int]:
    """The homologue's position of each position of the protein that it has a residue at; both from 1."""
    columns = [column for column, letter in enumerate(row) if letter != GAP]
    return {begin + column + 1: place for place, column in enumerate(columns, start=1)}


def _moved(mutant: Sequence[Substitution], own: str, place: dict[int, int], *, to_new: bool) -> str:
    """The homologue's mutant that has the new, or the old, residues of a mutant at its sites."""
    return written(
        [
            Substitution(own[place[one.position] - 1], place[one.position], one.new if to_new else one.old)
            for one in mutant
        ]
    )

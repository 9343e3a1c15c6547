"""Example payloads for the test kit; the n-th of each kind are of one protein."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from omlab_protein.alphabet import RESIDUES
from omlab_protein.homologues import Homologues
from omlab_protein.sequence import Sequence
from omlab_protein.structure import Residue, Structure
from omlab_protein.variants import Variants, VariantScores

_LETTERS = ("MQIFVKTLTG", "KTITLEVEPSDT", "IENVKAKIQDKEG")
_CODES = "ALACYSASPGLUPHEGLYHISILELYSLEUMETASNPROGLNARGSERTHRVALTRPTYR"
"""Of three letters each, in the order of `RESIDUES`."""
_MUTANTS = (("Q2A", "K6R", "M1L:V5A"), ("K1A", "WT"), ("I1L", "E12D:G13A"))


def example_sequences() -> list[Sequence]:
    """Three pieces of ubiquitin."""
    return [Sequence(letters=letters, name=f"piece{n}") for n, letters in enumerate(_LETTERS, start=1)]


def odd_sequences() -> dict[str, Sequence]:
    """One residue, unknown and rare ones."""
    return {
        "one-residue": Sequence(letters="M"),
        "unknown": Sequence(letters="XXXX"),
        "rare": Sequence(letters="MBUZOX"),
    }


def example_variants() -> list[Variants]:
    """Mutants of each piece, all measured."""
    measured = ((0.5, -0.25, 1.0), (0.1, 0.9), (-1.0, 2.0))
    return [Variants(mutants=mutants, measured=values) for mutants, values in zip(_MUTANTS, measured, strict=True)]


def odd_variants() -> dict[str, Variants]:
    """The wild type alone, and a mutant of another protein."""
    return {"wild-type": Variants(mutants=("WT",)), "another-protein": Variants(mutants=("W900C",))}


def example_variant_scores() -> list[VariantScores]:
    """A score for each of the mutants."""
    return [VariantScores(mutants=mutants, scores=np.linspace(-0.5, 1.5, len(mutants))) for mutants in _MUTANTS]


def odd_variant_scores() -> dict[str, VariantScores]:
    """NaN, huge ones, and no single mutant."""
    return {
        "nan": VariantScores(mutants=("A1C",), scores=np.array([math.nan])),
        "huge-values": VariantScores(mutants=("A1C", "A1D"), scores=np.array([-1e300, 1e300])),
        "no-single": VariantScores(mutants=("A1C:A2C",), scores=np.array([0.0])),
    }


def example_homologues() -> list[Homologues]:
    """Each piece, one with another first residue, and one with gaps."""
    return [Homologues(rows=(letters, "A" + letters[1:], "--" + letters[2:])) for letters in _LETTERS]


def odd_homologues() -> dict[str, Homologues]:
    """The query alone, nothing but gaps, and the family of another protein."""
    return {
        "query-alone": Homologues(rows=("MQ",)),
        "gaps": Homologues(rows=("MQ", "--")),
        "another-family": Homologues(rows=("WWWWW", "WWCWW")),
    }


def example_structures() -> list[Structure]:
    """Each piece, numbered from 1, without its second residue."""
    return [structure_of(letters, seen=[n for n in range(1, len(letters) + 1) if n != 2]) for letters in _LETTERS]


def odd_structures() -> dict[str, Structure]:
    """One residue that fits everywhere, and another protein."""
    return {"one-residue": structure_of("W", seen=[1]), "another-protein": structure_of("WWWWWW", seen=range(1, 7))}


def structure_of(letters: str, *, seen: Iterable[int], shift: int = 0, chain: str = "A") -> Structure:
    """A straight chain of alpha carbons, of the residues that were seen; `shift` is added to their numbers."""
    residues = [Residue(position + shift, "", letters[position - 1]) for position in seen]
    names = {letter: _CODES[3 * n : 3 * n + 3] for n, letter in enumerate(RESIDUES)}
    lines = [
        f"ATOM  {n:5d}  CA  {names[one.letter]} {chain}{one.number:4d}    "
        f"{3.8 * one.number:8.3f}{0:8.3f}{0:8.3f}{1:6.2f}{20:6.2f}           C  "
        for n, one in enumerate(residues, start=1)
    ]
    return Structure(pdb="\n".join([*lines, "END", ""]), chains={chain: tuple(residues)})

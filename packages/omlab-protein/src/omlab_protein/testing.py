"""Example payloads for the test kit; the n-th of each kind are of one protein."""

from __future__ import annotations

import math

import numpy as np

from omlab_protein.sequence import Sequence
from omlab_protein.variants import Variants, VariantScores

_LETTERS = ("MQIFVKTLTG", "KTITLEVEPSDT", "IENVKAKIQDKEG")
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

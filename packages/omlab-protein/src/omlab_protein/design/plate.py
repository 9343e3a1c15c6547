"""A plate as files: a table that the measured scores go into, and its sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omlab_protein.design.heads import Mutant
from omlab_protein.design.rounds import Proposal
from omlab_protein.fasta import fasta_text
from omlab_protein.mutants import MUTANT, PREDICTED, SCORE
from omlab_protein.sequence import Sequence as Protein
from omlab_protein.substitutions import mutated, written
from omlab_report import csv_text

TABLE = ".csv"
COLUMNS = (MUTANT, SCORE, PREDICTED, "spread", "model_score", "why", "sequence")
"""Of the table; `score` is empty: what is measured goes there, and the table is given to the next round."""


@dataclass(frozen=True, kw_only=True)
class Plate:
    """What is proposed for a protein, what was measured before, and the model that was asked."""

    protein: Protein
    proposals: Sequence[Proposal]
    measured: Mapping[Mutant, float]
    model: str

    def in_words(self) -> str:
        """The first mutants."""
        first = ", ".join(f"{written(one.mutant)} ({one.mean:.3f})" for one in self.proposals[:3])
        return f"{len(self.proposals)} mutants: {first}" + (", ..." if len(self.proposals) > 3 else "")


def write_table(plate: Plate, path: Path) -> None:
    """A row a mutant, in the order of picking."""
    rows = [
        (
            written(one.mutant),
            "",
            *(float(f"{value:.6g}") for value in (one.mean, one.spread, one.score)),
            one.why,
            mutated(plate.protein.letters, one.mutant),
        )
        for one in plate.proposals
    ]
    path.write_text(csv_text(COLUMNS, rows), encoding="utf-8", newline="")


def write_sequences(plate: Plate, path: Path) -> None:
    """FASTA: an entry a mutant, by its text."""
    entries = [(written(one.mutant), mutated(plate.protein.letters, one.mutant)) for one in plate.proposals]
    path.write_text("".join(fasta_text(name, letters) for name, letters in entries), encoding="utf-8")

"""The data set `tm`: how far mutations move melting temperatures, in Pro-Prime's layout of 66 sets.

    <root>/fasta/<protein>-<pH>.fasta      the wild type
    <root>/mutant/<protein>-<pH>.csv       mutant, score: the change of the melting temperature in kelvin

The part of the name before the last `-` is the protein: sets of one protein at several pH are one group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omlab.card_schema import DatasetCard
from omlab.errors import InputError, UsageError
from omlab_protein.assays import AssayCase, Assays
from omlab_protein.fasta import Fasta
from omlab_protein.sequence import Sequence as Residues

WILD_TYPES, TABLES = "fasta", "mutant"
FUNCTION = "Stability"
"""ProteinGym's word for what these assays measure."""


def open_tm(card: DatasetCard, *, root: Path, settings: Mapping[str, Any]) -> Assays:
    """Entry of the card."""
    return Assays(lambda: _measured(Path(root)))


def _measured(root: Path) -> Sequence[AssayCase]:
    """The sets by name; a mutation is good where it raises the temperature."""
    tables = sorted((root / TABLES).glob("*.csv"))
    if not tables:
        raise UsageError(f"{root} has no {TABLES}/*.csv: put tables of mutants there, and wild types in {WILD_TYPES}/.")
    return [
        AssayCase(
            id=table.stem,
            path=table,
            letters=_wild_type(root, table).letters,
            group=table.stem.rpartition("-")[0] or table.stem,
            function=FUNCTION,
            cutoff=0.0,
        )
        for table in tables
    ]


def _wild_type(root: Path, table: Path) -> Residues:
    path = root / WILD_TYPES / f"{table.stem}.fasta"
    if not path.is_file():
        raise InputError(f"{table} has no wild type: there is no {path}.")
    return Fasta().read(path, kind=Residues.kind)

"""Hook implementations; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omlab import Card, hookimpl, read_cards

if TYPE_CHECKING:
    from omlab.cli.group import LazyGroup

OMLAB_HOOK_API = 2


@hookimpl
def omlab_payloads() -> list[Card]:
    """Sequences, variants and the scores of variants."""
    return read_cards(__package__, "payload")


@hookimpl
def omlab_formats() -> list[Card]:
    """FASTA and tables of mutants."""
    return read_cards(__package__, "format")


@hookimpl
def omlab_datasets() -> list[Card]:
    """Assays of proteins, sequences with temperatures, families."""
    return read_cards(__package__, "dataset")


@hookimpl
def omlab_commands(cli: LazyGroup) -> None:
    """The command `design`."""
    cli.add_lazy("design", "omlab_protein.design.command:design", "Propose the mutants of a protein to measure next.")

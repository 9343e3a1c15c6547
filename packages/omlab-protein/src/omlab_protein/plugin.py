"""Hook implementations; imports nothing heavy."""

from omlab import Card, hookimpl, read_cards

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

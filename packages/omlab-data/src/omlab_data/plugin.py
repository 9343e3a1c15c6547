"""Hook implementations; imports nothing heavy."""

from omlab import Card, hookimpl, read_cards

OMLAB_HOOK_API = 2


@hookimpl
def omlab_datasets() -> list[Card]:
    """Data sets that read a user's own files."""
    return read_cards(__package__, "dataset")

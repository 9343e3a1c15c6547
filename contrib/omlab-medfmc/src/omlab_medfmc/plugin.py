"""Hook implementations; imports nothing heavy."""

from omlab import Card, hookimpl, read_cards

OMLAB_HOOK_API = 2


@hookimpl
def omlab_datasets() -> list[Card]:
    """The five sets of MedFMC."""
    return read_cards(__package__, "dataset")

"""Hook implementations; imports nothing heavy."""

from omlab import Card, hookimpl, read_cards

OMLAB_HOOK_API = 2


@hookimpl
def omlab_datasets() -> list[Card]:
    """SNOW."""
    return read_cards(__package__, "dataset")


@hookimpl
def omlab_models() -> list[Card]:
    """BROW's patch encoder."""
    return read_cards(__package__, "model")

"""Hook implementations; imports nothing heavy."""

from omlab import Card, hookimpl, read_cards

OMLAB_HOOK_API = 2


@hookimpl
def omlab_models() -> list[Card]:
    """Endo-FM and what was made of it."""
    return read_cards(__package__, "model")


@hookimpl
def omlab_datasets() -> list[Card]:
    """What it was trained and judged on."""
    return read_cards(__package__, "dataset")

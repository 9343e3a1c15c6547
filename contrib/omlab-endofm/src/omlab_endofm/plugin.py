"""Hook implementations; imports nothing heavy."""

from omlab import Card, hookimpl, read_cards

OMLAB_HOOK_API = 2


@hookimpl
def omlab_models() -> list[Card]:
    """Endo-FM and what was made of it."""
    return read_cards(__package__, "model")

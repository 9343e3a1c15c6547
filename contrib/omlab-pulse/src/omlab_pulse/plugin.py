"""Hook implementations; imports nothing heavy."""

from omlab import Card, hookimpl, read_cards

OMLAB_HOOK_API = 2


@hookimpl
def omlab_models() -> list[Card]:
    """PULSE-7b, PULSE-20b, and a tiny form of each."""
    return read_cards(__package__, "model")

"""Hook implementations; imports nothing heavy."""

from omlab import Card, hookimpl, read_cards

OMLAB_HOOK_API = 2


@hookimpl
def omlab_models() -> list[Card]:
    """ESM-2 in its sizes, and ESM-1v."""
    return read_cards(__package__, "model")

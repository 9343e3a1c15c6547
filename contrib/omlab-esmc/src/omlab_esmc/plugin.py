"""Hook implementations; imports nothing heavy."""

from omlab import Card, hookimpl, read_cards

OMLAB_HOOK_API = 2


@hookimpl
def omlab_models() -> list[Card]:
    """ESM-C in its sizes, and ESM3-open."""
    return read_cards(__package__, "model")

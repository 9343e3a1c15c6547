"""Hook implementations; imports nothing heavy."""

from omlab import Card, hookimpl, read_cards

OMLAB_HOOK_API = 2


@hookimpl
def omlab_adapters() -> list[Card]:
    """The adapters that any model can use."""
    return read_cards(__package__, "adapter")

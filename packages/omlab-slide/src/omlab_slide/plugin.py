"""Hook implementations; imports nothing heavy."""

from omlab import Card, hookimpl, read_cards

OMLAB_HOOK_API = 2


@hookimpl
def omlab_payloads() -> list[Card]:
    """Slides, and bags of the features of their patches."""
    return read_cards(__package__, "payload")


@hookimpl
def omlab_formats() -> list[Card]:
    """Slide files and folders."""
    return read_cards(__package__, "format")

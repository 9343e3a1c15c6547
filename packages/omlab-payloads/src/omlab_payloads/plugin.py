"""Hook implementations; imports nothing heavy."""

from omlab import Card, hookimpl, read_cards

OMLAB_HOOK_API = 2


@hookimpl
def omlab_payloads() -> list[Card]:
    """The kinds that every modality shares."""
    return read_cards(__package__, "payload")


@hookimpl
def omlab_formats() -> list[Card]:
    """Their files."""
    return read_cards(__package__, "format")

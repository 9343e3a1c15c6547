"""Hook implementations; imports nothing heavy."""

from omlab import Card, hookimpl, read_cards

OMLAB_HOOK_API = 2


@hookimpl
def omlab_payloads() -> list[Card]:
    """Clips, and masks and boxes over time."""
    return read_cards(__package__, "payload")


@hookimpl
def omlab_formats() -> list[Card]:
    """Video files, folders of frames, masks and boxes over time."""
    return read_cards(__package__, "format")

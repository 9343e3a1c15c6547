"""Hook implementations; imports nothing heavy."""

from omlab import Card, hookimpl, read_cards

OMLAB_HOOK_API = 2


@hookimpl
def omlab_payloads() -> list[Card]:
    """Texts and chats."""
    return read_cards(__package__, "payload")


@hookimpl
def omlab_formats() -> list[Card]:
    """JSON lines, lists of chats, plain text."""
    return read_cards(__package__, "format")


@hookimpl
def omlab_models() -> list[Card]:
    """Any causal language model of the user's."""
    return read_cards(__package__, "model")

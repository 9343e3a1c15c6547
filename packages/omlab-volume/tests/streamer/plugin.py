"""Hooks of a toy that streams windows over a big volume."""

from omlab import Card, hookimpl, read_cards

OMLAB_HOOK_API = 2


@hookimpl
def omlab_models() -> list[Card]:
    return read_cards(__package__, "model")

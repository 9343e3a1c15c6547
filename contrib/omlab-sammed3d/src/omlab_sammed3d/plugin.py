"""Hook implementations; imports nothing heavy."""

from omlab import Card, hookimpl, read_cards

OMLAB_HOOK_API = 2


@hookimpl
def omlab_models() -> list[Card]:
    """SAM-Med3D with clicks, with clicks and boxes, and a tiny one for tests."""
    return read_cards(__package__, "model")

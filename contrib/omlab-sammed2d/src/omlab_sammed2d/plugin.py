"""Hook implementations; imports nothing heavy."""

from omlab import Card, hookimpl, read_cards

OMLAB_HOOK_API = 2


@hookimpl
def omlab_models() -> list[Card]:
    """SAM-Med2D of images and of volumes, and tiny ones for tests."""
    return read_cards(__package__, "model")

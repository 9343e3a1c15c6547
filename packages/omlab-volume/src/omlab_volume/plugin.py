"""Hook implementations; imports nothing heavy."""

from omlab import Card, hookimpl, read_cards

OMLAB_HOOK_API = 2


@hookimpl
def omlab_payloads() -> list[Card]:
    """Volumes and label maps."""
    return read_cards(__package__, "payload")


@hookimpl
def omlab_formats() -> list[Card]:
    """The formats of 3-D images."""
    return read_cards(__package__, "format")


@hookimpl
def omlab_datasets() -> list[Card]:
    """Own data: folders in nnU-Net's layout."""
    return read_cards(__package__, "dataset")

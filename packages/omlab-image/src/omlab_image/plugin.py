"""Hook implementations; imports nothing heavy."""

from omlab import Card, hookimpl, read_cards

OMLAB_HOOK_API = 2


@hookimpl
def omlab_payloads() -> list[Card]:
    """Images and label maps of two dimensions."""
    return read_cards(__package__, "payload")


@hookimpl
def omlab_formats() -> list[Card]:
    """Pictures and DICOM files of one frame."""
    return read_cards(__package__, "format")


@hookimpl
def omlab_datasets() -> list[Card]:
    """Own data: folders of images."""
    return read_cards(__package__, "dataset")

"""The kinds of the toys that see: a scan of two or three dimensions, and a mask of one; their file."""

from omlab import hookimpl, read_cards

OMLAB_HOOK_API = 2


@hookimpl
def omlab_payloads():
    return read_cards(__package__, "payload")


@hookimpl
def omlab_formats():
    return read_cards(__package__, "format")

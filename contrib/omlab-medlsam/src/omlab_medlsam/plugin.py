"""Hook implementations; imports nothing heavy."""

from omlab import Card, hookimpl, read_cards

OMLAB_HOOK_API = 2


@hookimpl
def omlab_payloads() -> list[Card]:
    """Annotated scans as an input."""
    return read_cards(__package__, "payload")


@hookimpl
def omlab_formats() -> list[Card]:
    """Tables of such scans."""
    return read_cards(__package__, "format")


@hookimpl
def omlab_models() -> list[Card]:
    """MedLAM, MedLSAM and MedSAM, and tiny ones for tests."""
    return read_cards(__package__, "model")

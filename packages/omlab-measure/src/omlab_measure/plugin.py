"""Hook implementations; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omlab import Card, hookimpl, read_cards

if TYPE_CHECKING:
    from omlab.cli.group import LazyGroup

OMLAB_HOOK_API = 2


@hookimpl
def omlab_payloads() -> list[Card]:
    """Measurements."""
    return read_cards(__package__, "payload")


@hookimpl
def omlab_formats() -> list[Card]:
    """Their files."""
    return read_cards(__package__, "format")


@hookimpl
def omlab_commands(cli: LazyGroup) -> None:
    """`omlab measure`."""
    cli.add_lazy(
        "measure",
        "omlab_measure.command:measure",
        "Volumes, shapes, diameters and intensities of what was segmented.",
    )

"""Hook implementations; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omlab import Card, hookimpl, read_cards

if TYPE_CHECKING:
    from omlab.cli.group import LazyGroup

OMLAB_HOOK_API = 2


@hookimpl
def omlab_datasets() -> list[Card]:
    """The phantom data set."""
    return read_cards(__package__, "dataset")


@hookimpl
def omlab_commands(cli: LazyGroup) -> None:
    """`omlab demo`."""
    cli.add_lazy("demo", "omlab_phantom.demo:demo", "The whole way in minutes: see it work.")

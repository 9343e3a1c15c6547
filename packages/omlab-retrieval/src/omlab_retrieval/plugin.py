"""Hook implementations; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omlab import hookimpl

if TYPE_CHECKING:
    from omlab.cli.group import LazyGroup

OMLAB_HOOK_API = 2


@hookimpl
def omlab_commands(cli: LazyGroup) -> None:
    """The commands `search` and `outliers`."""
    cli.add_lazy("search", "omlab_retrieval.command:search", "Find the known cases that are most like others.")
    cli.add_lazy("outliers", "omlab_retrieval.command:outliers", "Find the cases that are unlike the known ones.")

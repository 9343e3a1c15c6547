"""Hook implementations; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omlab import hookimpl

if TYPE_CHECKING:
    from omlab.cli.group import LazyGroup

OMLAB_HOOK_API = 2


@hookimpl
def omlab_commands(cli: LazyGroup) -> None:
    """`omlab new`."""
    cli.add_lazy("new", "omlab_testkit.command:new", "Write a new plugin package.")

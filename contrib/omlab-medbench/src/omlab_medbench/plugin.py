"""Hook implementations; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omlab import hookimpl

if TYPE_CHECKING:
    from omlab.cli.group import LazyGroup

OMLAB_HOOK_API = 2


@hookimpl
def omlab_commands(cli: LazyGroup) -> None:
    """The command `medbench`."""
    cli.add_lazy("medbench", "omlab_medbench.command:medbench", "Score Chinese medical language models.")

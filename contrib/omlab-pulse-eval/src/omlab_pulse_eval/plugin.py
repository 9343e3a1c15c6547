"""Hook implementations; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omlab import hookimpl

if TYPE_CHECKING:
    from omlab.cli.group import LazyGroup

OMLAB_HOOK_API = 2


@hookimpl
def omlab_commands(cli: LazyGroup) -> None:
    """The command `pulse-eval`."""
    cli.add_lazy("pulse-eval", "omlab_pulse_eval.command:pulse_eval", "Judge chat models in pairs.")

"""Hook implementations; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omlab import hookimpl

if TYPE_CHECKING:
    from omlab.cli.group import LazyGroup

OMLAB_HOOK_API = 2


@hookimpl
def omlab_commands(cli: LazyGroup) -> None:
    """The commands `benchmark` and `claims`."""
    cli.add_lazy("benchmark", "omlab_benchmark.command:benchmark", "Compare models and adapters over few shots.")
    cli.add_lazy("claims", "omlab_benchmark.command:claims", "Repeat a model's published figures.")

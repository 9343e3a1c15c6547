"""Hook implementations; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omlab import Card, hookimpl, read_cards

if TYPE_CHECKING:
    import typer

OMLAB_HOOK_API = 1


@hookimpl
def omlab_evaluators() -> list[Card]:
    """The evaluator `medbench`."""
    return read_cards(__package__, "evaluator")


@hookimpl
def omlab_commands(cli: typer.Typer) -> None:
    """`omlab medbench-draw`."""
    from omlab_medbench.command import medbench_draw

    cli.command("medbench-draw")(medbench_draw)

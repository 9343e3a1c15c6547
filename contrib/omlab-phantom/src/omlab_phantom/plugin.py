"""Hook implementations; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omlab import Card, hookimpl, read_cards

if TYPE_CHECKING:
    import typer

OMLAB_HOOK_API = 1


@hookimpl
def omlab_datasets() -> list[Card]:
    """The phantom data set."""
    return read_cards(__package__, "dataset")


@hookimpl
def omlab_commands(cli: typer.Typer) -> None:
    """`omlab demo`."""
    from omlab_phantom.demo import demo

    cli.command("demo", short_help="The whole way in minutes: see it work.")(demo)

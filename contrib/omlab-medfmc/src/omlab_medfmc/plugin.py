"""Hook implementations; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omlab import Card, hookimpl, read_cards

if TYPE_CHECKING:
    from omlab.cli.group import LazyGroup

OMLAB_HOOK_API = 2


@hookimpl
def omlab_models() -> list[Card]:
    """The backbones of MedFMC's baselines, and tiny ones for tests."""
    return read_cards(__package__, "model")


@hookimpl
def omlab_datasets() -> list[Card]:
    """The five sets of MedFMC."""
    return read_cards(__package__, "dataset")


@hookimpl
def omlab_commands(cli: LazyGroup) -> None:
    """The command `medfmc`."""
    cli.add_lazy("medfmc", "omlab_medfmc.command:medfmc", "MedFMC's lists, submissions and ranking.")

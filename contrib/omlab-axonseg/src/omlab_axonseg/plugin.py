"""Hook implementations; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omlab import Card, hookimpl, read_cards

if TYPE_CHECKING:
    from omlab.cli.group import LazyGroup

OMLAB_HOOK_API = 2


@hookimpl
def omlab_models() -> list[Card]:
    """The model cards of this package."""
    return read_cards(__package__, "model")


@hookimpl
def omlab_evaluators() -> list[Card]:
    """The evaluator cards of this package."""
    return read_cards(__package__, "evaluator")


@hookimpl
def omlab_commands(cli: LazyGroup) -> None:
    """The command `axonseg`."""
    cli.add_lazy("axonseg", "omlab_axonseg.command:axonseg", "Axons and somata of whole brains: tables by region.")

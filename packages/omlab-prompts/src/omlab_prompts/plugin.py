"""Hook implementations; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omlab import Card, hookimpl, read_cards

if TYPE_CHECKING:
    from omlab.cli.group import LazyGroup

OMLAB_HOOK_API = 2


@hookimpl
def omlab_payloads() -> list[Card]:
    """Prompts, and what comes of simulated ones."""
    return read_cards(__package__, "payload")


@hookimpl
def omlab_formats() -> list[Card]:
    """Their files."""
    return read_cards(__package__, "format")


@hookimpl
def omlab_commands(cli: LazyGroup) -> None:
    """`omlab simulate` and `omlab prompt-from`."""
    cli.add_lazy(
        "simulate",
        "omlab_prompts.command:simulate",
        "Click by itself against a reference, and show how good it gets.",
    )
    cli.add_lazy(
        "prompt-from",
        "omlab_prompts.from_command:prompt_from",
        "Make prompts of what a model found: label maps, boxes or points.",
    )

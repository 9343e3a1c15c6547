"""Hook implementations; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omlab import Card, hookimpl, read_cards

if TYPE_CHECKING:
    from omlab.cli.group import LazyGroup

OMLAB_HOOK_API = 2


@hookimpl
def omlab_payloads() -> list[Card]:
    """Texts and chats, options and how likely they are."""
    return read_cards(__package__, "payload")


@hookimpl
def omlab_formats() -> list[Card]:
    """JSON lines, lists of chats, plain text."""
    return read_cards(__package__, "format")


@hookimpl
def omlab_datasets() -> list[Card]:
    """Questions with options, and texts to be predicted."""
    return read_cards(__package__, "dataset")


@hookimpl
def omlab_models() -> list[Card]:
    """Any causal language model of the user's, and whatever answers at a server."""
    return read_cards(__package__, "model")


@hookimpl
def omlab_commands(cli: LazyGroup) -> None:
    """`omlab chat` and `omlab label`."""
    cli.add_lazy("chat", "omlab_text.command:chat", "Talk to a model in the terminal.")
    cli.add_lazy("label", "omlab_text.label.command:label", "Have experts rank the answers of models.")

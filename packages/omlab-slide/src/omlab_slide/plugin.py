"""Hook implementations; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omlab import Card, hookimpl, read_cards

if TYPE_CHECKING:
    from omlab.cli.group import LazyGroup

OMLAB_HOOK_API = 2
_MIL = "mil/cards.toml"


@hookimpl
def omlab_payloads() -> list[Card]:
    """Slides, bags of the features of their patches, heat maps."""
    return read_cards(__package__, "payload")


@hookimpl
def omlab_formats() -> list[Card]:
    """Slide files and folders, stores of bags, forms of heat maps."""
    return [*read_cards(__package__, "format"), *read_cards(__package__, "format", file=_MIL)]


@hookimpl
def omlab_commands(cli: LazyGroup) -> None:
    """`omlab slide look`."""
    cli.add_lazy("slide", "omlab_slide.look.command:slide", "Look at slides before anything is done with them.")


@hookimpl
def omlab_models() -> list[Card]:
    """Any encoder of images, on slides; networks on bags."""
    return [*read_cards(__package__, "model"), *read_cards(__package__, "model", file=_MIL)]


@hookimpl
def omlab_datasets() -> list[Card]:
    """Tables of slides."""
    return read_cards(__package__, "dataset", file=_MIL)

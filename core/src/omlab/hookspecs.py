"""The hooks of omlab (pluggy project `omlab`), hook API version 2.

A plugin is a module named in the entry-point group `omlab`. It implements the hooks that it needs:

    # omlab_example/plugin.py
    from omlab import Card, hookimpl, read_cards

    OMLAB_HOOK_API = 2

    @hookimpl
    def omlab_models() -> list[Card]:
        return read_cards(__package__, "model")

The module is imported whenever omlab starts, so it must import nothing heavy: no torch, no numpy.
The code that a card's `entry` names is imported when the card is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click

    from omlab.cards import Card
    from omlab.runs import Run

HOOK_API = 2
"""Major version of these hooks. A plugin says which one it is built for in `OMLAB_HOOK_API`."""

hookspec = pluggy.HookspecMarker("omlab")
hookimpl = pluggy.HookimplMarker("omlab")


@hookspec
def omlab_payloads() -> list[Card]:  # type: ignore[empty-body]
    """Kinds of inputs and outputs: cards of kind `payload`.

    Called once, when the registry is first asked for payloads. Do not import the class or numpy. Since hook API 2.
    """


@hookspec
def omlab_datasets() -> list[Card]:  # type: ignore[empty-body]
    """Data sets on offer: cards of kind `dataset`.

    Called once, when the registry is first asked for data sets. Return the cards; do not look at the
    data, import its reader or touch the network. Since hook API 1.
    """


@hookspec
def omlab_formats() -> list[Card]:  # type: ignore[empty-body]
    """File formats that can be read or written: cards of kind `format`.

    Called once, when a path is to be read or written. Do not import the reading library. Since hook API 1.
    """


@hookspec
def omlab_models() -> list[Card]:  # type: ignore[empty-body]
    """Models on offer: cards of kind `model`.

    Called once, when the registry is first asked for models. Do not import the network or look for
    weights. Since hook API 1.
    """


@hookspec
def omlab_adapters() -> list[Card]:  # type: ignore[empty-body]
    """Ways to adapt a model to data: cards of kind `adapter`.

    Called once, when the registry is first asked for adapters. Since hook API 1.
    """


@hookspec
def omlab_evaluators() -> list[Card]:  # type: ignore[empty-body]
    """Ways to judge predictions: cards of kind `evaluator`.

    Called once, when the registry is first asked for evaluators. Since hook API 1.
    """


@hookspec
def omlab_commands(cli: click.Group) -> None:
    """Add sub-commands to the command line.

    Called when the command line is asked for a command that core does not have, or for its help. Say where the
    command stands, so that it is imported when it is run, and do not replace one that is there already:

        cli.add_lazy("demo", "omlab_example.demo:demo", "A first run from data to report.")

    Since hook API 2.
    """


@hookspec
def omlab_run_started(run: Run) -> None:
    """A run begins or is gone on with: its folder exists, no case has been started.

    For tracking and audit. Do not change the run; an exception here is noted in the run and does not stop it.
    Under torchrun only rank 0 calls it. Since hook API 1.
    """


@hookspec
def omlab_run_finished(run: Run) -> None:
    """A run is complete: its folder has its final name and every case a status.

    Not called for a run that was interrupted. An exception here is reported and changes nothing.
    Since hook API 1.
    """

"""The command list. It imports no more than it shows: a table of plain text, no library for tables."""

from __future__ import annotations

import json
import shutil
import textwrap
from typing import TYPE_CHECKING, Any

import click

from omlab.cli import options
from omlab.cli.wanted import Wanted, is_demonstration

if TYPE_CHECKING:
    from omlab.cards import Card, Kind
    from omlab.plugins import Plugin

SECTIONS: dict[str, Kind] = {
    "models": "model",
    "datasets": "dataset",
    "adapters": "adapter",
    "evaluators": "evaluator",
    "formats": "format",
    "payloads": "payload",
}


@click.command("list")
@click.argument("what", metavar="[WHAT]", required=False)
@click.option("--modality", metavar="NAME", help="Only models made for it: ct, mr, fundus, pathology ...")
@click.option("--verb", metavar="VERB", help="Only models that do it: predict, embed ...")
@click.option("--takes", metavar="KIND", help="Only models with such an input: volume, image, slide ...")
@click.option("--all", "demonstrations", is_flag=True, help="Also models for tests and demonstrations.")
@options.as_json
def list_cards(what: str | None, as_json: bool, **asked: Any) -> None:
    """List what is installed: models, datasets, adapters, evaluators, formats, payloads, plugins."""
    from omlab.errors import UsageError
    from omlab.registry import registry
    from omlab.suggest import did_you_mean

    if what is not None and what not in [*SECTIONS, "plugins"]:
        hint = did_you_mean(what, [*SECTIONS, "plugins"], none="")
        raise UsageError(f"There is nothing called '{what}' to list: {hint}")
    wanted = Wanted(**asked)
    if wanted.asks:
        if what not in (None, "models"):
            raise UsageError(f"{wanted.asks[0]} chooses among models: leave out '{what}'.")
        what = "models"
    catalogue = registry()
    found = {name: catalogue.cards(kind) for name, kind in SECTIONS.items() if what in (None, name)}
    sections = {name: wanted.choose(cards) if name == "models" else cards for name, cards in found.items()}
    plugins = list(catalogue.plugins)
    if as_json:
        shown: dict[str, Any] = {name: [_summary(card) for card in cards] for name, cards in sections.items()}
        if what in (None, "plugins"):
            shown["plugins"] = [vars(plugin) for plugin in plugins]
        click.echo(json.dumps(shown, indent=2))
        return
    _show_sections(sections, all=what is None)
    hidden = wanted.hidden(found.get("models", []))
    if hidden:
        say = f"\n{hidden} more for tests and demonstrations: omlab list models --all"
        click.echo(click.style(say, dim=True))
    if what == "plugins":
        _show_plugins(plugins)
    else:
        _show_problems(plugins, found)


def _summary(card: Card) -> dict[str, Any]:
    row: dict[str, Any] = {"name": card.name, "summary": card.summary, "distribution": card.distribution}
    if card.kind == "model":
        row |= {"verbs": list(card.data.get("does", {})), "recipes": list(card.data.get("trains", {}))}
        row |= {"weights": list(card.weights), "modalities": list(card.data.get("modalities", []))}
        row |= {"organs": list(card.data.get("organs", [])), "demonstration": is_demonstration(card)}
    return row


def _show_sections(sections: dict[str, list[Card]], *, all: bool) -> None:
    shown = {name: cards for name, cards in sections.items() if cards or not all}
    width = max((len(card.name) for cards in shown.values() for card in cards), default=0) + 4
    wrapper = textwrap.TextWrapper(max(20, shutil.get_terminal_size().columns - width))
    for number, (name, cards) in enumerate(shown.items()):
        if number:
            click.echo()
        click.echo(click.style(name, bold=True) if cards else f"No {name} are installed.")
        for card in cards:
            _show_row(card, width=width, wrapper=wrapper)


def _show_row(card: Card, *, width: int, wrapper: textwrap.TextWrapper) -> None:
    lines = wrapper.wrap(card.summary)
    facts = [
        ("for", [*card.data.get("modalities", []), *card.data.get("organs", [])]),
        ("does", list(card.data.get("does", {}))),
        ("recipes", list(card.data.get("trains", {}))),
        ("weights", card.weights),
    ]
    details = "; ".join(f"{label}: {', '.join(values)}" for label, values in facts if values and card.kind == "model")
    click.echo(click.style(f"  {card.name}".ljust(width), fg="cyan") + lines[0])
    for line in lines[1:]:
        click.echo(" " * width + line)
    for line in wrapper.wrap(details):
        click.echo(" " * width + click.style(line, dim=True))


def _show_plugins(plugins: list[Plugin]) -> None:
    rows = [
        ("plugin", "distribution", "version", "status"),
        *((p.name, p.distribution, p.version, p.status) for p in plugins),
    ]
    widths = [max(len(row[n]) for row in rows) + 2 for n in range(4)]
    for row, plugin in zip(rows, [None, *plugins], strict=True):
        text = "".join(part.ljust(width) for part, width in zip(row, widths, strict=True))
        click.echo((click.style(text, bold=True) if plugin is None else text + plugin.reason).rstrip())


def _show_problems(plugins: list[Plugin], sections: dict[str, list[Card]]) -> None:
    for plugin in plugins:
        if plugin.status in ("broken", "incompatible"):
            text = f"{plugin.status}: {plugin.name} ({plugin.distribution}): {plugin.reason}"
            click.echo(click.style(text, fg="yellow"), err=True)
    for cards in sections.values():
        owners: dict[str, list[str]] = {}
        for card in cards:
            owners.setdefault(f"{card.kind} '{card.name}'", []).append(card.distribution)
        for name, who in owners.items():
            if len(who) > 1:
                click.echo(click.style(f"duplicate: {name} is offered by {' and '.join(who)}", fg="yellow"), err=True)

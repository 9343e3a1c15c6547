"""The commands list and info."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omlab.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from omlab.cards import Card, Kind

SECTIONS: dict[str, Kind] = {
    "models": "model",
    "datasets": "dataset",
    "adapters": "adapter",
    "evaluators": "evaluator",
    "formats": "format",
}
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def list_cards(
    what: Annotated[str | None, typer.Argument(help=f"{', '.join(SECTIONS)} or plugins (default: all).")] = None,
    as_json: Json = False,
) -> None:
    """List what is installed: models, data sets, adapters, evaluators, formats, plugins."""
    from omlab.registry import registry

    if what is not None and what not in [*SECTIONS, "plugins"]:
        raise UsageError(f"There is nothing called '{what}' to list: choose {', '.join(SECTIONS)} or plugins.")
    catalogue = registry()
    sections = {name: catalogue.cards(kind) for name, kind in SECTIONS.items() if what in (None, name)}
    plugins = [vars(plugin) for plugin in catalogue.plugins]
    if as_json:
        shown: dict[str, Any] = {name: [_summary(card) for card in cards] for name, cards in sections.items()}
        typer.echo(json.dumps(shown | ({"plugins": plugins} if what in (None, "plugins") else {}), indent=2))
        return
    _show_sections(sections)
    if what == "plugins":
        _show_plugins(plugins)
    else:
        _show_problems(plugins, {k: v for kind in sections.values() for k, v in _duplicates(kind).items()})


def _summary(card: Card) -> dict[str, Any]:
    row = {"name": card.name, "summary": card.summary, "distribution": card.distribution}
    return row | ({"weights": list(card.weights)} if card.kind == "model" else {})


def _duplicates(cards: list[Card]) -> dict[str, list[str]]:
    owners: dict[str, list[str]] = {}
    for card in cards:
        owners.setdefault(f"{card.kind} '{card.name}'", []).append(card.distribution)
    return {name: who for name, who in owners.items() if len(who) > 1}


def _show_sections(sections: dict[str, list[Card]]) -> None:
    from rich.table import Table

    from omlab.cli.console import stdout_console

    console = stdout_console()
    shown = {name: cards for name, cards in sections.items() if cards or len(sections) == 1}
    width = max((len(card.name) for cards in shown.values() for card in cards), default=0)
    for number, (name, cards) in enumerate(shown.items()):
        if number:
            console.print()
        console.print(f"[bold]{name}[/]" if cards else f"No {name} are installed.")
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, min_width=width + 2, style="cyan")
        table.add_column(ratio=1)
        for card in cards:
            tags = f"\n[dim]weights: {', '.join(card.weights)}[/]" if card.weights else ""
            table.add_row(f"  {card.name}", _escape(card.summary) + tags)
        console.print(table)


def _show_plugins(plugins: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from omlab.cli.console import stdout_console

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("plugin", "distribution", "version", "status", "reason"):
        table.add_column(column, overflow="fold")
    for row in plugins:
        table.add_row(row["name"], row["distribution"], row["version"], row["status"], _escape(row["reason"]))
    stdout_console().print(table)


def _show_problems(plugins: list[dict[str, Any]], duplicates: dict[str, list[str]]) -> None:
    from omlab.cli.console import stderr_console

    console = stderr_console()
    for plugin in plugins:
        if plugin["status"] in ("broken", "incompatible"):
            who = f"{plugin['name']} ({plugin['distribution']})"
            console.print(f"[yellow]{plugin['status']}: {_escape(who)}: {_escape(plugin['reason'])}[/]", soft_wrap=True)
    for name, owners in duplicates.items():
        console.print(f"[yellow]duplicate: {name} is offered by {' and '.join(owners)}[/]", soft_wrap=True)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def info(
    name: Annotated[str, typer.Argument(help="Name of a model, data set, adapter, evaluator or format.")],
    as_json: Json = False,
) -> None:
    """Show everything about one thing: what it takes and gives, licence, weights, settings, limits."""
    from omlab.card_schema import validate

    for card in _named(name):
        full = validate(card)
        if as_json:
            facts = {"kind": card.kind, "distribution": card.distribution, **full.model_dump(mode="json")}
            typer.echo(json.dumps(facts, indent=2))
        else:
            _show_card(card, full.model_dump(mode="json"))


def _named(name: str) -> list[Card]:
    from omlab.registry import registry

    catalogue = registry()
    base = name.partition(".")[0]
    found = [kind for kind in SECTIONS.values() if any(card.name == base for card in catalogue.cards(kind))]
    if found:
        return [catalogue.get(kind, base) for kind in found]
    import difflib

    known = sorted({card.name for kind in SECTIONS.values() for card in catalogue.cards(kind)})
    close = difflib.get_close_matches(base, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(c) for c in close)}?" if close else "'omlab list' shows what there is."
    raise UnknownNameError(f"Nothing called '{base}' is installed: {hint}")


def _show_card(card: Card, facts: dict[str, Any]) -> None:
    from rich.table import Table

    from omlab.cli.console import stdout_console

    console = stdout_console()
    console.print(f"[bold]{card.name}[/] ({card.kind}, from {card.distribution})")
    console.print(_escape(card.summary))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(ratio=1)
    for key, value in facts.items():
        if key in ("name", "summary") or value in (None, "", [], {}, False):
            continue
        for label, text in _lines(key, value):
            table.add_row(label, _escape(text))
    console.print(table)


def _lines(key: str, value: Any) -> list[tuple[str, str]]:
    label = key.replace("_", " ")
    if key == "settings":
        return [(f"set {name}", _setting(setting)) for name, setting in value.items()]
    if key == "weights":
        return [(f"weights {tag}", _weights(tag_facts)) for tag, tag_facts in value.items()]
    if key == "parameters":
        return [(label, f"{value:,}")]
    if value is True:
        return [(label, "yes")]
    return [(label, ", ".join(map(str, value)) if isinstance(value, list) else str(value))]


def _setting(setting: dict[str, Any]) -> str:
    choices = f", one of {', '.join(map(str, setting['choices']))}" if setting["choices"] else ""
    return f"{setting['help']} ({setting['type']}{choices}, default {setting['default']})"


def _weights(facts: dict[str, Any]) -> str:
    files = ", ".join(f"{f['name']} ({_size(f)})" for f in facts["files"])
    return f"{facts['summary']}\nLicence: {facts['licence']}\nFiles: {files}"


def _size(file: dict[str, Any]) -> str:
    size, sign = (file["size"], "") if file["size"] else (file["approximate_size"], "about ")
    return f"{sign}{size / 1e6:,.0f} MB"

"""The command info."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omlab.cli import options
from omlab.cli.catalogue import SECTIONS

if TYPE_CHECKING:
    from omlab.cards import Card


@click.command(no_args_is_help=True)
@click.argument("name", metavar="NAME", shell_complete=options.card_names)
@options.as_json
def info(name: str, as_json: bool) -> None:
    """Show everything about one thing, or an adapted model: what it does, licence, weights, settings, limits."""
    from omlab.adapted import ADAPTED
    from omlab.card_schema import validate

    if (Path(name) / ADAPTED).is_file():
        _adapted(Path(name), as_json=as_json)
        return
    for card in _named(name):
        facts = validate(card).model_dump(mode="json")
        if as_json:
            click.echo(json.dumps({"kind": card.kind, "distribution": card.distribution, **facts}, indent=2))
        else:
            _show(card, facts)


def _adapted(folder: Path, *, as_json: bool) -> None:
    """An adapted model: what it does itself, how it was made, and what holds of its base."""
    from omlab.adapted import read_description
    from omlab.models import find_card

    made = read_description(folder)
    facts = find_card(folder).model_dump(mode="json", exclude={"weights", "default_weights", "parameters", "entry"})
    if as_json:
        click.echo(json.dumps({"kind": "adapted model", "adapted": made.to_json(), **facts}, indent=2))
        return
    how = f"{made.adapter}, recipe {made.recipe}" if made.recipe else made.adapter
    data = made.data.get("name", "unknown data")
    history = {"base": made.base, "adapter": how, "data": data, "seed": str(made.seed)}
    _table(f"[bold]{_escaped(folder.resolve().name)}[/] (adapted model)", facts["summary"], {**history, **facts})


def _named(name: str) -> list[Card]:
    from omlab.errors import UnknownNameError
    from omlab.registry import registry
    from omlab.suggest import did_you_mean

    catalogue, base = registry(), name.partition(".")[0]
    found = [kind for kind in SECTIONS.values() if any(card.name == base for card in catalogue.cards(kind))]
    if found:
        return [catalogue.get(kind, base) for kind in found]
    known = [card.name for kind in SECTIONS.values() for card in catalogue.cards(kind)]
    hint = did_you_mean(base, known, none="no plugin is.")
    raise UnknownNameError(f"Nothing called '{base}' is installed{catalogue.not_loaded}: {hint}")


def _show(card: Card, facts: dict[str, Any]) -> None:
    _table(f"[bold]{_escaped(card.name)}[/] ({card.kind}, from {card.distribution})", card.summary, facts)


def _table(title: str, summary: str, facts: dict[str, Any]) -> None:
    from rich.table import Table

    from omlab.cli.console import stdout_console

    console = stdout_console()
    console.print(title)
    console.print(_escaped(summary))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(ratio=1)
    for key, value in facts.items():
        if key in ("name", "summary") or value in (None, "", [], {}, False):
            continue
        for label, text in _lines(key, value):
            table.add_row(label, _escaped(text))
    console.print(table)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _lines(key: str, value: Any) -> Iterator[tuple[str, str]]:
    label = key.replace("_", " ")
    if key == "settings":
        yield from ((f"set {name}", in_words(setting)) for name, setting in value.items())
    elif key == "does":
        for verb, facts in value.items():
            yield verb, _verb(facts)
            yield from ((f"set {name}", f"({verb}) {in_words(option)}") for name, option in facts["options"].items())
    elif key == "trains":
        for recipe, facts in value.items():
            yield f"recipe {recipe}", _recipe(facts)
            yield from ((f"set {name}", f"({recipe}) {in_words(one)}") for name, one in facts["settings"].items())
    elif key == "needs" and isinstance(value, dict):
        yield from (
            (f"{'may need' if model.endswith('?') else 'needs'} {name}", model) for name, model in value.items()
        )
    elif key == "weights":
        yield from ((f"weights {tag}", _weights(facts)) for tag, facts in value.items())
    elif key == "parameters":
        yield label, f"{value:,}"
    elif isinstance(value, dict):
        yield label, ", ".join(f"{name} ({what})" for name, what in value.items())
    else:
        yield label, "yes" if value is True else ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _verb(facts: dict[str, Any]) -> str:
    takes = ", ".join(
        f"{name} ({kind}{': ' + ' or '.join(facts['accepts'][name]) if name in facts['accepts'] else ''})"
        for name, kind in facts["takes"].items()
    )
    promised = f" on the grid of {facts['grid']}" if facts["grid"] else ""
    return f"{takes} -> {facts['gives']}{promised}"


def _recipe(facts: dict[str, Any]) -> str:
    target = f"needs {facts['target']} targets" if facts["target"] else "needs no targets"
    gives = "".join(f"; then {verb} gives {kind}" for verb, kind in facts["gives"].items())
    return f"{facts['summary'] or ''}{' ' if facts['summary'] else ''}({target}{gives})"


def in_words(setting: dict[str, Any]) -> str:
    """What a setting does, its type, choices and default."""
    choices = f", one of {', '.join(map(str, setting['choices']))}" if setting["choices"] else ""
    default = "empty" if setting["default"] in ("", []) else setting["default"]
    return f"{setting['help']} ({setting['type']}{choices}, default {default})"


def _weights(facts: dict[str, Any]) -> str:
    files = ", ".join(f"{f['name']} ({_size(f)})" for f in facts["files"]) or facts["repository"] or facts["endpoint"]
    claims = "".join(
        f"\nClaim: {c['metric']} {c['value']} on {c['data']} by {c['evaluator']} ({c['source']})"
        for c in facts["claims"]
    )
    return f"{facts['summary']}\nLicence: {facts['licence']}\nFiles: {files}{claims}"


def _size(file: dict[str, Any]) -> str:
    size, sign = (file["size"], "") if file["size"] else (file["approximate_size"], "about ")
    return f"{sign}{size / 1e6:,.0f} MB"

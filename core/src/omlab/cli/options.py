"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from omlab.errors import UsageError
from omlab.settings import parse_pairs

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])

_NAMED = re.compile(r"^([a-z][a-z0-9_]*)(:?=)(.*)$", re.DOTALL)


def paths(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For a shell: files and folders."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def model_names(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For a shell: architectures, behind a dot the tags of their weights, else folders of adapted models."""
    from click.shell_completion import CompletionItem

    from omlab.registry import registry

    architecture, dot, _ = incomplete.partition(".")
    cards = registry().cards("model")
    names = [card.name for card in cards]
    if dot:
        tags = [(card.name, tag) for card in cards if card.name == architecture for tag in (*card.weights, "untrained")]
        names = [f"{name}.{tag}" for name, tag in tags]
    found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="dir")]


def output(what: str) -> Callable[[F], F]:
    """`--output`."""
    said = f"{what} (default: in omlab-runs/)."
    return click.option("--output", "-o", metavar="PATH", default=None, help=said, shell_complete=paths)


settings = click.option(
    "--set",
    "-s",
    "settings",
    metavar="NAME=VALUE",
    multiple=True,
    help="A setting, such as step=0.5; model.X, data.X, read.X say whose. Repeatable.",
)
data = click.option("--data", metavar="NAME[:PATH]", help="A data set, or own files: cases:list.csv, nnunet:FOLDER.")
root = click.option("--root", metavar="FOLDER", type=click.Path(path_type=Path), help="Where the data set's files are.")
weights = click.option(
    "--weights",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A local checkpoint instead of published weights.",
)
device = click.option(
    "--device", metavar="DEVICE", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."
)
offline = click.option("--offline", is_flag=True, help="Never fetch weights: use the cache or --weights.")
needs = click.option(
    "--need",
    "needs",
    metavar="NAME=MODEL",
    multiple=True,
    help="Another model for one that the model needs; -s model.NAME.SETTING=VALUE is a setting of it.",
)
mapped = click.option(
    "--map", "mapped", metavar="INPUT=NAME", multiple=True, help="Which of the data set's inputs is the model's INPUT."
)
batch = click.option("--batch", metavar="N", type=click.IntRange(min=1), help="Cases at once (default: the card's).")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def card_names(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The names of all cards that begin so, for a shell."""
    from omlab.cards import KINDS
    from omlab.registry import registry

    return [card.name for kind in KINDS for card in registry().cards(kind) if card.name.startswith(incomplete)]


def pairs(given: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE options as a dict."""
    return parse_pairs(given)


def inputs_of(words: Sequence[str]) -> tuple[list[Path], dict[str, Path], dict[str, Any]]:
    """`PATH`, `NAME=PATH` and `NAME:=VALUE` of a command line: paths, named paths, named values.

    A value is JSON where it can be read as that, else text. A file whose name has a '=' is a path all the same.

    Raises `UsageError` for a name that is given twice.
    """
    paths: list[Path] = []
    named: dict[str, Path] = {}
    values: dict[str, Any] = {}
    for word in words:
        match = _NAMED.match(word)
        if match is None or Path(word).exists():
            paths.append(Path(word))
            continue
        name, sign, value = match.groups()
        if name in named or name in values:
            raise UsageError(f"The input '{name}' is given twice.")
        if sign == ":=":
            values[name] = _value(value)
        else:
            named[name] = Path(value)
    return paths, named, values


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text

"""`omlab evaluate NAME --setting value ...` for evaluators of recorded answers: their settings are options."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from omlab.cli.console import working
from omlab.errors import SettingsError, UsageError
from omlab.registry import registry
from omlab.settings import parse_pairs

if TYPE_CHECKING:
    from omlab.jobs.outcome import Outcome

OWN = ("model", "output", "settings")
"""The command's parameters that go with recorded answers; the others are about models and data sets."""


def is_recorded(name: str) -> bool:
    """Whether `name` is that of an evaluator of recorded answers."""
    return name in _recorded_names()


def evaluate_recorded(context: typer.Context, name: str, *, pairs: Sequence[str], output: Path | None) -> Outcome:
    """Run the evaluator with the options that the command does not know as its settings."""
    from omlab.jobs.evaluate_recorded import evaluate_recorded as run

    for parameter in context.command.params:
        if parameter.name in OWN or parameter.name is None:
            continue
        source = context.get_parameter_source(parameter.name)
        if source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"'{name}' judges recorded answers: {parameter.opts[0]} does not apply.")
    settings = options(context.args) | parse_pairs(pairs)
    with working():
        return run(name, settings=settings, output=output)


def refuse_options(context: typer.Context, name: str | None, *, has_data: bool) -> None:
    """Raise `UsageError` for what only evaluators of recorded answers take, and for a missing `--data`."""
    unknown = next((word for word in (name or "", *context.args) if word.startswith("-")), None)
    if unknown is not None:
        meant = get_close_matches(name or "", _recorded_names(), n=1)
        if meant and not has_data:
            raise UsageError(f"There is no evaluator '{name}': did you mean '{meant[0]}'?")
        option = unknown.partition("=")[0]
        known = [text for parameter in context.command.params for text in parameter.opts if text.startswith("--")]
        close = get_close_matches(option, known, n=1)
        hint = f"did you mean {close[0]}?" if close else "'omlab evaluate --help' shows those there are."
        raise UsageError(f"There is no option {option}: {hint}")
    if context.args:
        raise UsageError(f"'{context.args[0]}' is one argument too many: 'omlab evaluate' takes one name.")
    if not has_data:
        raise UsageError("Missing option '--data': name the data set.")


def options(words: Sequence[str]) -> dict[str, Any]:
    """`["--rounds", "10", "--yes"]` as settings; an option without a value is `true`, a repeated one a list.

    Raises `SettingsError` for a word that belongs to no option.
    """
    found: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or word == "--":
            raise SettingsError(f"'{word}' belongs to no option: write --name value.")
        name, equals, value = word[2:].partition("=")
        if not equals:
            value = rest.pop(0) if rest and not rest[0].startswith("--") else "true"
        name = name.replace("-", "_")
        if name not in found:
            found[name] = value
        else:
            before = found[name]
            found[name] = [*before, value] if isinstance(before, list) else [before, value]
    return found


def _recorded_names() -> list[str]:
    return [card.name for card in registry().cards("evaluator") if card.data.get("source") == "recorded"]

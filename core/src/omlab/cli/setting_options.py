"""Options of a command made of settings that stand in a TOML file: `[NAME]` tables as in cards."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from omlab.card_schema import Setting

Command = Callable[..., Any]


def read_settings(package: str, *, file: str = "settings.toml") -> dict[str, Setting]:
    """The settings of a file of a package, by name. Raises pydantic's `ValidationError` where one is wrong."""
    from omlab.card_schema import Setting

    document = tomllib.loads(resources.files(package).joinpath(file).read_text(encoding="utf-8"))
    return {name: Setting.model_validate(facts) for name, facts in document.items()}


def setting_options(settings: Mapping[str, Setting]) -> Callable[[Command], Command]:
    """Give a command an option for each setting; what was not given on the command line is left out.

    A list may be given as `--name a,b` or by several options.
    """

    def add(command: Command) -> Command:
        for name, setting in reversed(settings.items()):
            word = f"--{name.replace('_', '-')}"
            shown = f" [{setting.default}]" if setting.default not in ("", [], False) else ""
            kwargs: dict[str, Any] = {"help": f"{setting.help}{shown}", "default": None}
            if setting.type == "bool":
                command = click.option(f"{word}/--no-{name.replace('_', '-')}", name, **kwargs)(command)
            else:
                metavar = "|".join(map(str, setting.choices)) if setting.choices else setting.type.upper()
                multiple = setting.type == "list"
                command = click.option(word, name, metavar=metavar, multiple=multiple, **kwargs)(command)
        return command

    return add


def given(options: Mapping[str, Any], settings: Mapping[str, Setting]) -> dict[str, Any]:
    """The settings that a user gave, of all options of a command."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        if name not in settings or value in (None, ()):
            continue
        if settings[name].type == "list":
            value = [part for word in value for part in str(word).strip("[]").split(",") if part.strip()]
        found[name] = value
    return found

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

_METAVARS = {"int": "N", "float": "X", "str": "TEXT", "list": "A,B"}


def read_settings(package: str, *, file: str = "settings.toml") -> dict[str, Setting]:
    """The settings of a file of a package, by name. Raises pydantic's `ValidationError` where one is wrong."""
    from omlab.card_schema import Setting

    document = tomllib.loads(resources.files(package).joinpath(file).read_text(encoding="utf-8"))
    return {name: Setting.model_validate(facts) for name, facts in document.items()}


def setting_options(settings: Mapping[str, Setting]) -> Callable[[Command], Command]:
    """Give a command an option for each setting; `given` tells those that the user gave.

    A list is given as `--name a,b`, or by an option for each of its entries, which may then hold commas.

    ```python
    SETTINGS = read_settings("omlab_x")

    @click.command()
    @setting_options(SETTINGS)
    def command(**options):
        settings = complete(SETTINGS, given(options, SETTINGS), of="command")
    ```
    """

    def add(command: Command) -> Command:
        for name, setting in reversed(list(settings.items())):
            command = _option(name, setting)(command)
        return command

    return add


def given(options: Mapping[str, Any], settings: Mapping[str, Setting]) -> dict[str, Any]:
    """The settings that a user gave, of all options of a command, for `omlab.settings.complete`."""
    found = {name: value for name, value in options.items() if name in settings and value not in (None, ())}
    return {name: _entries(value) if settings[name].type == "list" else value for name, value in found.items()}


def _option(name: str, setting: Setting) -> Callable[[Command], Command]:
    word = f"--{name.replace('_', '-')}"
    shown = f"{setting.help}{_default(setting)}"
    if setting.type == "bool":
        words = f"{word}/--no-{word[2:]}" if setting.default else word
        return click.option(words, name, is_flag=True, default=None, help=shown)
    metavar = "|".join(map(str, setting.choices)) if setting.choices else _METAVARS[setting.type]
    return click.option(word, name, metavar=metavar, multiple=setting.type == "list", default=None, help=shown)


def _default(setting: Setting) -> str:
    """The default, in brackets, where there is something to be shown."""
    default = setting.default
    if default is True:
        return " [yes]"
    if default is False or default in ("", []):
        return ""
    if isinstance(default, list):
        return f" [{','.join(map(str, default))}]"
    return f" [{default:g}]" if isinstance(default, float) else f" [{default}]"


def _entries(words: tuple[str, ...]) -> str | list[str]:
    """One word is split where it is converted; several are entries as they are."""
    return words[0] if len(words) == 1 else list(words)

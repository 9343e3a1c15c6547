"""A group of commands that are imported when they are run: help and listing cost nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """Commands by name, each with the place where it stands and a line of help.

    ```python
    group = LazyGroup("things")
    group.add_lazy("show", "omlab_things.command:show", "Show a thing.")
    ```

    `further` is called once, before a command that is not known or all of them are asked for, and may add more.
    """

    def __init__(self, *args: Any, further: Callable[[LazyGroup], None] | None = None, **more: Any) -> None:
        super().__init__(*args, **more)
        self._lazy: dict[str, tuple[str, str]] = {}
        self._further = further
        self._brought: Set[str] = frozenset()

    def add_lazy(self, name: str, entry: str, help: str) -> None:
        """Add the command `entry` (`module:object`), which is imported when it is run.

        Raises `ValueError` where a command of that name is there already.
        """
        if name in self._lazy or name in self.commands:
            raise ValueError(f"there is a command '{name}' already")
        self._lazy[name] = (entry, help)

    def known(self) -> Mapping[str, str]:
        """Names and help of the commands so far."""
        return {name: help for name, (_, help) in self._lazy.items()} | {
            name: command.get_short_help_str() for name, command in self.commands.items()
        }

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, ours first."""
        self._ask()
        return list(self.known())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        if cmd_name not in self.known():
            self._ask()
        if cmd_name in self._lazy:
            module, _, attribute = self._lazy[cmd_name][0].partition(":")
            command: click.Command = getattr(import_module(module), attribute)
            return command
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with 'did you mean'."""
        from omlab.suggest import did_you_mean

        name = args[0]
        if ctx.resilient_parsing:  # a shell asks what may follow: nothing
            return super().resolve_command(ctx, args) if self.get_command(ctx, name) else (None, None, [])
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            ctx.fail(f"There is no command '{name}': {did_you_mean(name, self.known(), none='there are none.')}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands without importing them."""
        self._ask()
        known = self.known().items()
        sections = {
            "Commands": [(name, help) for name, help in known if name not in self._brought],
            "Commands of installed packages": [(name, help) for name, help in known if name in self._brought],
        }
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def _ask(self) -> None:
        if self._further is not None:
            further, self._further = self._further, None
            ours = self.known().keys()
            further(self)
            self._brought = self.known().keys() - ours

"""Finding plugins and living with broken ones.

A plugin is an entry point of the group `omlab`. One that cannot be imported, is built for another
hook API, or raises when it is called is kept aside with the reason; the others work.
`OMLAB_PLUGINS=a,b` loads only those entry points, `OMLAB_PLUGINS_OFF=c` all but those.

Hooks are called by pluggy, one plugin at a time (`Plugins.ask`), so that `specname`, `tryfirst`, wrappers and checked
arguments work as its users expect while no plugin can hide or stop another.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, Literal

import pluggy

from omlab import hookspecs
from omlab.errors import OmlabError, PluginError

GROUP = "omlab"
Status = Literal["ok", "broken", "incompatible", "off"]


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """One entry point and what became of it; `reason` is empty for one that works."""

    name: str
    distribution: str
    version: str
    status: Status
    reason: str = ""


class Plugins:
    """The plugins of this environment, with the pluggy manager that calls them."""

    def __init__(self, found: Iterable[EntryPoint], *, only: frozenset[str], off: frozenset[str]) -> None:
        self.manager = pluggy.PluginManager("omlab")
        self.manager.add_hookspecs(hookspecs)
        self._plugins: dict[str, Plugin] = {}
        for entry_point in sorted(found, key=lambda e: (e.name, e.value)):
            self._load(entry_point, wanted=(not only or entry_point.name in only) and entry_point.name not in off)

    def __iter__(self) -> Iterator[Plugin]:
        return iter(self._plugins.values())

    def names(self) -> list[str]:
        """Names of the plugins that work."""
        return [plugin.name for plugin in self if plugin.status == "ok"]

    def distribution(self, name: str) -> str:
        """The distribution that brought the plugin of that name."""
        return self._plugins[name].distribution

    def ask(self, hook: str, **arguments: Any) -> Iterator[tuple[str, Any]]:
        """Call a hook of each plugin that implements it, in pluggy's order: (plugin, what it gave).

        A plugin that raises, or exits, is put aside with the reason. What it prints goes to standard error.
        """
        for name in self._in_order(hook):
            try:
                answers = self._call(name, hook, arguments)
            except (Exception, SystemExit) as error:  # one plugin's failure must not hide the others
                self.set_aside(name, f"{hook} failed: {said(error)}")
            else:
                yield from ((name, answer) for answer in answers)

    def tell(self, hook: str, **arguments: Any) -> list[tuple[str, str]]:
        """Call a hook of observers: (plugin, what went wrong) of those that failed, which are not put aside."""
        problems = []
        for name in self._in_order(hook):
            try:
                self._call(name, hook, arguments)
            except (Exception, SystemExit) as error:  # an observer must not stop the run that it observes
                problems.append((name, said(error)))
        return problems

    def _call(self, name: str, hook: str, arguments: dict[str, Any]) -> list[Any]:
        others = [self.manager.get_plugin(other) for other in self.names() if other != name]
        caller = self.manager.subset_hook_caller(hook, remove_plugins=others)
        with redirect_stdout(sys.stderr):
            answers: list[Any] = caller(**arguments)
        return answers

    def _in_order(self, hook: str) -> list[str]:
        """The working plugins that implement `hook`, first called first."""
        found = [impl.plugin_name for impl in getattr(self.manager.hook, hook).get_hookimpls()]
        return list(dict.fromkeys(reversed(found)))

    def set_aside(self, name: str, reason: str) -> None:
        """Put a plugin aside that failed when it was called."""
        if self.manager.get_plugin(name) is not None:
            self.manager.unregister(name=name)
        self._plugins[name] = replace(self._plugins[name], status="broken", reason=reason)

    def _load(self, entry_point: EntryPoint, *, wanted: bool) -> None:
        status: Status = "off"
        reason = "switched off by OMLAB_PLUGINS or OMLAB_PLUGINS_OFF"
        if wanted:
            status, reason = self._register(entry_point)
        dist = entry_point.dist
        key = entry_point.name if entry_point.name not in self._plugins else f"{entry_point.name} ({entry_point.value})"
        self._plugins[key] = Plugin(
            name=key,
            distribution=dist.name if dist else "unknown",
            version=dist.version if dist else "unknown",
            status=status,
            reason=reason,
        )

    def _register(self, entry_point: EntryPoint) -> tuple[Status, str]:
        if entry_point.name in self._plugins:
            other = self._plugins[entry_point.name].distribution
            return "broken", f"another plugin is called '{entry_point.name}' too, from {other}; uninstall one of them"
        try:
            with redirect_stdout(sys.stderr):
                module = entry_point.load()
        except (Exception, SystemExit) as error:  # whatever a plugin does at import must not harm the others
            return "broken", f"cannot be imported: {type(error).__name__}: {error}"
        return self._check_and_register(entry_point.name, module)

    def _check_and_register(self, name: str, module: ModuleType) -> tuple[Status, str]:
        api = getattr(module, "OMLAB_HOOK_API", None)
        if api != hookspecs.HOOK_API:
            found = "does not say OMLAB_HOOK_API" if api is None else f"is built for hook API {api}"
            return "incompatible", f"{found}; this omlab has {hookspecs.HOOK_API}"
        try:
            self.manager.register(module, name=name)
            self.manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            if self.manager.get_plugin(name) is not None:
                self.manager.unregister(name=name)
            return "broken", f"implements a hook wrongly: {error}"
        return "ok", ""


def said(error: BaseException) -> str:
    """An error as a reason: our own sentences as they are, others with their type."""
    return str(error) if isinstance(error, OmlabError) else f"{type(error).__name__}: {error}"


def _names(variable: str) -> frozenset[str]:
    return frozenset(part.strip() for part in os.environ.get(variable, "").split(",") if part.strip())


@cache
def installed() -> Plugins:
    """The plugins of this environment, looked up once. Raises `PluginError` for an unknown name asked for."""
    found = list(entry_points(group=GROUP))
    only = _names("OMLAB_PLUGINS")
    unknown = sorted(only - {entry_point.name for entry_point in found})
    if unknown:
        raise PluginError(f"OMLAB_PLUGINS names '{unknown[0]}', but no plugin of that name is installed.")
    return Plugins(found, only=only, off=_names("OMLAB_PLUGINS_OFF"))

"""Finding plugins and living with broken ones.

A plugin is an entry point of the group `omlab`. One that cannot be imported, is built for another
hook API, or raises when it is called is kept aside with the reason; the others work.
`OMLAB_PLUGINS=a,b` loads only those entry points, `OMLAB_PLUGINS_OFF=c` all but those.

Hooks are called by pluggy and nothing else, so that `specname`, `tryfirst`, wrappers and checked arguments are what its
users expect. What is registered is not the plugin's functions but guards around them, which say who failed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from inspect import isgeneratorfunction
from types import SimpleNamespace
from typing import Any, Literal

import pluggy

from omlab import hookspecs
from omlab.errors import PluginError
from omlab.guards import Each, Guards, as_given, said
from omlab.suggest import did_you_mean

GROUP = "omlab"
HOOKS = [name for name in vars(hookspecs) if name.startswith("omlab_")]
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
        self._guards = Guards()
        for entry_point in sorted(found, key=lambda e: (e.name, e.value)):
            self._load(entry_point, wanted=(not only or entry_point.name in only) and entry_point.name not in off)

    def __iter__(self) -> Iterator[Plugin]:
        return iter(self._plugins.values())

    def names(self) -> list[str]:
        """Names of the plugins that work."""
        return [plugin.name for plugin in self if plugin.status == "ok"]

    def ask(self, hook: str, *, each: Each = as_given, **arguments: Any) -> list[Any]:
        """Call a hook: the answers in pluggy's order.

        `each` checks or completes what one implementation gave. A plugin that raises, exits or gives what `each`
        refuses is put aside with the reason. What it prints goes to standard error.
        """
        answers, failed = self._called(hook, each, arguments)
        for name, reason in failed.items():
            self.set_aside(name, f"{hook} failed: {reason}")
        return answers

    def tell(self, hook: str, **arguments: Any) -> list[tuple[str, str]]:
        """Call a hook of observers: (plugin, what went wrong) of those that failed, which are not put aside."""
        return list(self._called(hook, as_given, arguments)[1].items())

    def _called(self, hook: str, each: Each, arguments: dict[str, Any]) -> tuple[list[Any], dict[str, str]]:
        with self._guards.calling(each) as failed, redirect_stdout(sys.stderr):
            answers: list[Any] = getattr(self.manager.hook, hook)(**arguments)
        return answers, failed

    def set_aside(self, name: str, reason: str) -> None:
        """Put a plugin aside that failed when it was called."""
        if self.manager.get_plugin(name) is not None:
            self.manager.unregister(name=name)
        self._plugins[name] = replace(self._plugins[name], status="broken", reason=reason)

    def _load(self, entry_point: EntryPoint, *, wanted: bool) -> None:
        status: Status = "off"
        reason = "switched off by OMLAB_PLUGINS or OMLAB_PLUGINS_OFF"
        distribution, version = _brought_by(entry_point)
        if wanted:
            status, reason = self._register(entry_point, distribution)
        key = entry_point.name if entry_point.name not in self._plugins else f"{entry_point.name} ({entry_point.value})"
        self._plugins[key] = Plugin(
            name=key,
            distribution=distribution,
            version=version,
            status=status,
            reason=reason,
        )

    def _register(self, entry_point: EntryPoint, distribution: str) -> tuple[Status, str]:
        if entry_point.name in self._plugins:
            other = self._plugins[entry_point.name].distribution
            return "broken", f"another plugin is called '{entry_point.name}' too, from {other}; uninstall one of them"
        try:
            with redirect_stdout(sys.stderr):
                plugin = entry_point.load()
        except (Exception, SystemExit) as error:  # whatever a plugin does at import must not harm the others
            return "broken", f"cannot be imported: {said(error)}"
        return self._check_and_register(entry_point.name, distribution, plugin)

    def _check_and_register(self, name: str, distribution: str, plugin: Any) -> tuple[Status, str]:
        api = getattr(plugin, "OMLAB_HOOK_API", None)
        if api != hookspecs.HOOK_API:
            found = "its module has no OMLAB_HOOK_API" if api is None else f"it is built for hook API {api}"
            older = "omlab-core" if isinstance(api, int) and api > hookspecs.HOOK_API else distribution
            return "incompatible", f"{found}, and this omlab has {hookspecs.HOOK_API}: update {older}"
        try:
            self.manager.register(self._guarded(name, distribution, plugin), name=name)
        except (pluggy.PluginValidationError, ValueError) as error:
            if self.manager.get_plugin(name) is not None:
                self.manager.unregister(name=name)
            return "broken", f"implements a hook wrongly: {error}"
        return "ok", ""

    def _guarded(self, name: str, distribution: str, plugin: Any) -> SimpleNamespace:
        """The hook implementations of a plugin, each in a guard that looks like it to pluggy."""
        guarded = SimpleNamespace()
        for attribute in dir(plugin):
            options = self.manager.parse_hookimpl_opts(plugin, attribute)
            if options is not None:
                function, hook = getattr(plugin, attribute), options["specname"] or attribute
                if hook not in HOOKS and not options["optionalhook"]:
                    hint = did_you_mean(hook, HOOKS, none="there are none.")
                    raise ValueError(f"there is no hook '{hook}', {hint.rstrip('?.')}")
                if options["hookwrapper"]:
                    raise ValueError(f"{attribute} uses pluggy's old hookwrapper=True: make it wrapper=True")
                is_wrapper = options["wrapper"] and isgeneratorfunction(function)
                guard = self._guards.around_wrapper if is_wrapper else self._guards.around
                setattr(guarded, attribute, guard(function, plugin=name, distribution=distribution))
        return guarded


def _brought_by(entry_point: EntryPoint) -> tuple[str, str]:
    """Name and version of its distribution, whose file is parsed each time that it is asked for something."""
    if entry_point.dist is None:
        return "unknown", "unknown"
    told = entry_point.dist.metadata
    return told["Name"], told["Version"]


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

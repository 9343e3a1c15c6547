"""What is on offer: the cards of all plugins, by kind and name.

`Registry` asks the hooks once per kind. A plugin that raises is put aside as broken; a name that two
distributions offer is an error when that name is used, and shown by `omlab list` and `omlab doctor`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib import import_module
from typing import Any

from omlab.cards import KINDS, Card, Kind
from omlab.errors import CardError, DuplicateNameError, MissingDependencyError, UnknownNameError
from omlab.plugins import Plugins, installed
from omlab.suggest import did_you_mean

HOOKS: dict[Kind, str] = {kind: f"omlab_{kind}s" for kind in KINDS}


class Registry:
    """The cards that the given plugins offer."""

    def __init__(self, plugins: Plugins) -> None:
        self.plugins = plugins
        self._cards: dict[Kind, list[Card]] = {}

    def cards(self, kind: Kind) -> list[Card]:
        """All cards of a kind, by name; of duplicates every one."""
        if kind not in self._cards:
            self._cards[kind] = sorted(self._ask(kind), key=lambda card: (card.name, card.distribution))
        return list(self._cards[kind])

    def duplicates(self, kind: Kind) -> dict[str, list[str]]:
        """Names that more than one distribution offers, with those distributions."""
        owners: dict[str, list[str]] = {}
        for card in self.cards(kind):
            owners.setdefault(card.name, []).append(card.distribution)
        return {name: who for name, who in owners.items() if len(who) > 1}

    def get(self, kind: Kind, name: str) -> Card:
        """The card of that name. Raises `UnknownNameError` ('did you mean') or `DuplicateNameError`."""
        found = [card for card in self.cards(kind) if card.name == name]
        if len(found) > 1:
            owners = " and ".join(card.distribution for card in found)
            raise DuplicateNameError(f"{kind} '{name}' is offered by {owners}; uninstall one of them.")
        if not found:
            raise UnknownNameError(self._unknown(kind, name))
        return found[0]

    @property
    def not_loaded(self) -> str:
        """Part of a sentence on a name that is unknown: which plugins are set aside, for it may be one of theirs."""
        names = [plugin.name for plugin in self.plugins if plugin.status in ("broken", "incompatible")]
        return f" (not loaded: {', '.join(names)}; see omlab doctor)" if names else ""

    def _ask(self, kind: Kind) -> list[Card]:
        def owned(answer: Any, distribution: str) -> list[Card]:
            cards = list(answer)
            for card in cards:
                if not isinstance(card, Card) or card.kind != kind:
                    raise CardError(f"it must return {kind} cards, not {card!r}.")
            return [replace(card, distribution=card.distribution or distribution) for card in cards]

        return [card for cards in self.plugins.ask(HOOKS[kind], each=owned) for card in cards]

    def _unknown(self, kind: Kind, name: str) -> str:
        known = sorted({card.name for card in self.cards(kind)})
        words = {"dataset": "data set"}.get(kind, kind)
        none = f"no plugin with a {words} is installed."
        return f"There is no {words} '{name}'{self.not_loaded}: {did_you_mean(name, known, none=none)}"


@cache
def registry() -> Registry:
    """The registry of this environment."""
    return Registry(installed())


def load_entry(card: Card, entry: str) -> Any:
    """Import the object that `entry` (`module:object`) names.

    Raises `MissingDependencyError` where a package is absent, `CardError` where the entry is wrong.
    """
    from omlab.unheard import leave_out_lines  # logging takes milliseconds, and a list imports no entry

    leave_out_lines()
    module_name, _, attribute = entry.partition(":")
    try:
        return getattr(import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        if error.name and module_name.startswith(error.name):
            raise CardError(
                f"{card.kind} '{card.name}' names the module {module_name}, which does not exist."
            ) from error
        raise MissingDependencyError(
            f"{card.kind} '{card.name}' needs the Python package '{error.name}', which is not installed."
        ) from error
    except AttributeError as error:
        raise CardError(f"{card.kind} '{card.name}': {module_name} has no '{attribute}'.") from error

"""Which models `omlab list` shows: by modality, verb and kind of input."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omlab.cards import Card


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a user asks of models; None asks for nothing. A model of no one modality is listed under none."""

    modality: str | None = None
    verb: str | None = None
    takes: str | None = None
    demonstrations: bool = False

    @property
    def asks(self) -> list[str]:
        """The options that were given."""
        given = {"--modality": self.modality, "--verb": self.verb, "--takes": self.takes}
        return [option for option, value in given.items() if value is not None]

    def choose(self, models: Iterable[Card]) -> list[Card]:
        """The models that are wanted.

        Raises:
            UnknownNameError: No model at all has such a modality, verb or input.
        """
        models = list(models)
        _known("modality", self.modality, (name for card in models for name in _modalities(card)))
        _known("verb", self.verb, (verb for card in models for verb in card.data.get("does", {})))
        _known("input of the kind", self.takes, (kind for card in models for kind in _inputs(card, verb=None)))
        return [card for card in models if self._fits(card) and self._shown(card)]

    def hidden(self, models: Iterable[Card]) -> int:
        """How many models fit but are there for tests and demonstrations, which are not wanted."""
        return sum(self._fits(card) and not self._shown(card) for card in models)

    def _shown(self, card: Card) -> bool:
        return self.demonstrations or not is_demonstration(card)

    def _fits(self, card: Card) -> bool:
        return (
            (self.modality is None or self.modality in _modalities(card))
            and (self.verb is None or self.verb in card.data.get("does", {}))
            and (self.takes is None or self.takes in _inputs(card, verb=self.verb))
        )


def is_demonstration(card: Card) -> bool:
    """Whether a model is there for tests and demonstrations alone."""
    return bool(card.data.get("demonstration"))


def _modalities(card: Card) -> list[str]:
    return list(card.data.get("modalities", []))


def _inputs(card: Card, *, verb: str | None) -> set[str]:
    """The kinds of inputs of a verb, or of all of them."""
    does = card.data.get("does", {})
    verbs = does.values() if verb is None else [does[verb]] if verb in does else []
    return {kind.removesuffix("?") for facts in verbs for kind in facts.get("takes", {}).values()}


def _known(what: str, name: str | None, known: Iterable[str]) -> None:
    if name is None:
        return
    names = sorted(set(known))
    if name not in names:
        from omlab.errors import UnknownNameError
        from omlab.suggest import did_you_mean

        raise UnknownNameError(f"No model has the {what} '{name}': {did_you_mean(name, names, none='none is known.')}")

"""The gate: what a model was made for, held against what it is given, before the work and after it.

A verb's card says what it `expects` of an input, and of what it gives; the payload card of a kind names the function
that looks (`PayloadCard.gate`). A doubt is a warning of its case, never silent; it refuses an input only where the
model's setting `gate` says so.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from omlab.card_schema import RESULT, ModelCard, PayloadCard, Verb, validate
from omlab.errors import InputError, OmlabWarning, UnknownNameError
from omlab.payloads import Inputs, Payload, describe
from omlab.registry import load_entry, registry

Gate = Callable[[Any, Mapping[str, Any]], Mapping[str, Any]]
"""(payload, what is expected of it) -> JSON: `doubts`, a sentence each, and beside them what they rest on."""
SETTING = "gate"
"""Of a model that may be told to refuse what is doubtful."""


class DoubtWarning(OmlabWarning):
    """An input is not as what the model was made for, or a result is not as those that it learned from."""


@dataclass(frozen=True, kw_only=True)
class Gates:
    """The gates of a model: by kind of payload. `refuses`: a doubt about an input fails its case."""

    by_kind: Mapping[str, Gate] = field(default_factory=dict)
    refuses: bool = False

    def inputs(self, facts: Verb, inputs: Inputs) -> dict[str, Any]:
        """What was found of each input of which the card expects something.

        Warns with `DoubtWarning`. Raises `InputError` where what is doubtful is to be refused.
        """
        found = {
            name: self._found(payload, facts.expects[name])
            for name, payload in inputs.items()
            if name in facts.expects and describe(payload) in self.by_kind
        }
        doubts = [doubt for one in found.values() for doubt in one["doubts"]]
        if doubts and self.refuses:
            raise InputError(f"{' '.join(doubts)} It was refused, as the setting '{SETTING}' asks.")
        _warn(doubts)
        return found

    def result(self, facts: Verb, result: Payload) -> dict[str, Any]:
        """What was found of a result, under its name; warns with `DoubtWarning`."""
        if RESULT not in facts.expects or describe(result) not in self.by_kind:
            return {}
        found = self._found(result, facts.expects[RESULT])
        _warn(found["doubts"])
        return {RESULT: found}

    def _found(self, payload: Payload, expected: Mapping[str, Any]) -> dict[str, Any]:
        """What the gate says; one that fails is a doubt itself, as nothing was looked at."""
        try:
            return {"doubts": [], **self.by_kind[describe(payload)](payload, expected)}
        except Exception as error:  # looking must not take the result away
            return {"doubts": [f"The gate could not look at it ({type(error).__name__}: {error})."]}


def gates_of(card: ModelCard, settings: Mapping[str, Any]) -> Gates:
    """The gates of the kinds of which a card expects something. Raises `CardError` where one cannot be imported."""
    kinds = {
        facts.gives if name == RESULT else facts.kinds[name] for facts in card.does.values() for name in facts.expects
    }
    found = {kind: gate for kind in sorted(kinds) if (gate := _gate_of(kind)) is not None}
    return Gates(by_kind=found, refuses=settings.get(SETTING) == "refuse")


def _gate_of(kind: str) -> Gate | None:
    try:
        offer = registry().get("payload", kind)
    except UnknownNameError:
        return None
    card = cast(PayloadCard, validate(offer))
    return None if card.gate is None else cast(Gate, load_entry(offer, card.gate))


def _warn(doubts: list[str]) -> None:
    for doubt in doubts:
        warnings.warn(doubt, DoubtWarning, stacklevel=3)

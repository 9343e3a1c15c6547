"""A data set as a model's recipes see it: its inputs under the names that the model has for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from omlab.abilities import HasEpisodes
from omlab.card_schema import ModelCard, Verb
from omlab.jobs.sources import MappedCase, match_inputs
from omlab.roles import About, Case, Dataset


def training_verb(card: ModelCard, recipe: str | None, requires: str) -> Verb | None:
    """The verb whose inputs are trained on: what an adapter requires, what the recipe gives, else the first."""
    gives = card.trains[recipe].gives if recipe else {}
    return next((card.does[verb] for verb in (requires, *gives, *card.does) if verb in card.does), None)


class MappedData:
    """A data set whose inputs bear a verb's names where they match its; all else is the data set's own.

    Inputs match by `--map`, by name, or by a kind that occurs once. Others keep their names: a recipe may take what no
    verb does (a rejected answer), and make what the data lack (clicks).
    """

    def __init__(self, data: Dataset, facts: Verb, *, model: str, name: str, mapped: Mapping[str, str]) -> None:
        self._data = data
        self._facts = facts
        self._called: dict[str, Any] = {"model": model, "data": name, "mapped": mapped}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._data, name)

    def about(self, split: str) -> About:
        """What the split holds."""
        about = self._data.about(split)
        names = self._names(about)

        def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
            return {names.get(name, name): value for name, value in values.items()}

        return replace(
            about, inputs=renamed(about.inputs), channels=renamed(about.channels), facts=renamed(about.facts)
        )

    def cases(self, split: str) -> Sequence[Case]:
        """The cases."""
        names = self._names(self._data.about(split))
        cases = self._data.cases(split)
        if all(name == own for name, own in names.items()):
            return cases
        return [MappedCase(case=case, names=names) for case in cases]

    def episode(self, shots: int, seed: int) -> MappedData | None:
        """The data set's own few-shot list, where it has one (`omlab.abilities.HasEpisodes`)."""
        found = self._data.episode(shots, seed) if isinstance(self._data, HasEpisodes) else None
        if found is None:
            return None
        called = self._called
        return MappedData(found, self._facts, model=called["model"], name=called["data"], mapped=called["mapped"])

    def _names(self, about: About) -> dict[str, str]:
        """The data set's names of inputs to those that they are given; none takes another's place."""
        matched = match_inputs(about.inputs, self._facts, whole=False, **self._called)
        rest = {name: name for name in about.inputs if name not in matched}
        return {**{name: theirs for name, theirs in matched.items() if theirs not in rest}, **rest}

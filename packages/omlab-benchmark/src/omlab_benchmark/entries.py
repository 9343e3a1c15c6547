"""What a board compares: a model with an adapter is an entry, an entry with shots and a seed is a cell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from omlab.abilities import FitsMany
from omlab.card_schema import AdapterCard, ModelCard, Training
from omlab.digests import digest_of
from omlab.errors import UsageError
from omlab.jobs.adapt import choose_recipe
from omlab.models import ModelRef, find_card, find_model, load_adapter
from omlab.roles import Adapter
from omlab.settings import by_home, complete, decisive
from omlab.suggest import did_you_mean

ALL = 0
"""As a number of shots: the whole training split."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A model with an adapter, found and checked.

    Attributes:
        model: As it was named.
        ref: What was found.
        adapter_card: Of the adapter.
        adapter: Ready to fit.
        adapter_settings: Complete.
        recipe: What it trains by; None: the adapter reads what a verb gives.
        recipe_settings: Complete.
    """

    model: str
    ref: ModelRef
    adapter_card: AdapterCard
    adapter: Adapter
    adapter_settings: Mapping[str, Any]
    recipe: str | None
    recipe_settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """As a reader knows it."""
        return f"{self.model} + {self.adapter_card.name}"

    @property
    def is_at_once(self) -> bool:
        """Whether the adapter does all shots and seeds together."""
        return isinstance(self.adapter, FitsMany)

    @cached_property
    def digest(self) -> str:
        """Of all that decides what comes of it but the data."""
        recipe = self.ref.card.trains[self.recipe].settings if self.recipe else {}
        return digest_of(
            [
                self.ref.identity(),
                self.adapter_card.name,
                decisive(self.adapter_card.settings, self.adapter_settings),
                self.recipe,
                decisive(recipe, self.recipe_settings),
            ]
        )

    @property
    def slug(self) -> str:
        """A name for files; another entry has another one."""
        return f"{re.sub(r'[^A-Za-z0-9.]+', '-', self.name).strip('-')}-{self.digest[:8]}"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """An entry adapted to so many shots, drawn by a seed."""

    entry: Entry
    shots: int
    seed: int

    @property
    def file(self) -> str:
        """Where its results lie in the board's folder."""
        return f"results/{self.entry.slug}/{shots_name(self.shots)}-seed-{self.seed}.jsonl.gz"


def shots_name(shots: int) -> str:
    """`5-shot`, or `all`."""
    return "all" if shots == ALL else f"{shots}-shot"


def find_entries(
    models: Sequence[str],
    adapters: Sequence[str],
    *,
    recipe: str | None,
    target: str,
    device: str,
    settings: Mapping[str, Any],
    offline: bool | None,
) -> tuple[list[Entry], dict[str, Any]]:
    """Each model with each adapter, and the settings that are for the data.

    Args:
        models: Names of models, or folders of adapted ones.
        adapters: Names of adapters.
        recipe: For the adapters that train by one; None: a model's only one for such targets.
        target: Kind of the data's targets.
        device: Where the models work.
        settings: Values by name, looked for in the adapters and the recipes; `ADAPTER.X`, `recipe.X`, `model.X` (of
            those models that have it) and `data.X` go there.
        offline: True: never fetch weights.

    Raises:
        UsageError: A name is there twice, an adapter cannot work with a model, or a setting is nobody's.
        OmlabError: A model or adapter cannot be found.
    """
    for what, names in (("model", models), ("adapter", adapters)):
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None or not names:
            raise UsageError(f"The {what} '{twice}' is there twice." if names else f"Name at least one --{what}.")
    cards = {name: load_adapter(name, {})[0] for name in adapters}
    of_models = {name: find_card(name) for name in models}
    recipes = {
        (model, name): _recipe_for(of_models[model], card, recipe, target=target, model=model)
        for model in models
        for name, card in cards.items()
    }
    trainings = [_training(of_models[model], chosen) for (model, _), chosen in recipes.items()]
    known = {name: setting for training in trainings for name, setting in training.settings.items()}
    homes = {**{name: card.settings for name, card in cards.items()}, "recipe": known, "model": None, "data": None}
    given = by_home(settings, homes, plain=[*cards, "recipe"])
    for_models = _for_models(given["model"], of_models)
    entries = []
    for model in models:
        ref = find_model(model, device=device, settings=for_models[model], offline=offline)
        for name in adapters:
            chosen = recipes[model, name]
            training = _training(ref.card, chosen)
            advice = training.defaults.get(name, {})
            card, adapter, adapter_settings = load_adapter(name, {**advice, **given[name]})
            of_recipe = {key: value for key, value in given["recipe"].items() if key in training.settings}
            entries.append(
                Entry(
                    model=model,
                    ref=ref.ready(),
                    adapter_card=card,
                    adapter=adapter,
                    adapter_settings=adapter_settings,
                    recipe=chosen,
                    recipe_settings=complete(training.settings, of_recipe, of=f"the recipe '{chosen}' of '{model}'"),
                )
            )
    return entries, given["data"]


def _training(card: ModelCard, recipe: str | None) -> Training:
    return card.trains[recipe] if recipe else Training()


def _recipe_for(card: ModelCard, adapter: AdapterCard, recipe: str | None, *, target: str, model: str) -> str | None:
    """The recipe of an entry; None where the adapter needs none. Raises `UsageError`."""
    if adapter.requires != "recipe":
        return choose_recipe(card, adapter, None, model=model)
    if recipe is None:
        fitting = [name for name, training in card.trains.items() if training.target == target]
        if len(fitting) != 1:
            has = f"{', '.join(fitting)}: name one with --recipe" if fitting else "none"
            raise UsageError(f"'{adapter.name}' trains by a recipe for {target} targets, of which '{model}' has {has}.")
        return fitting[0]
    chosen = choose_recipe(card, adapter, recipe, model=model)
    if chosen is not None and card.trains[chosen].target != target:
        raise UsageError(
            f"The recipe '{chosen}' of '{model}' needs {card.trains[chosen].target or 'no'} targets, but the data have "
            f"{target}."
        )
    return chosen


def _for_models(given: Mapping[str, Any], cards: Mapping[str, ModelCard]) -> dict[str, dict[str, Any]]:
    known = {name for card in cards.values() for name in card.settings}
    for name in given:
        if name not in known:
            raise UsageError(
                f"No model here has a setting '{name}': {did_you_mean(name, known, none='they have none.')}"
            )
    return {
        model: {name: value for name, value in given.items() if name in card.settings} for model, card in cards.items()
    }

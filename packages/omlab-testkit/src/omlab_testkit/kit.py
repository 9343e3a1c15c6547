"""The plugin under test: its cards, and the subjects that checks are made on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omlab.card_schema import ModelCard, validate
from omlab.cards import KINDS, Card, Kind
from omlab.errors import CardError, UsageError
from omlab.plugins import GROUP, Plugins
from omlab.registry import Registry
from omlab.session import Session
from omlab_testkit import parity
from omlab_testkit.project import Project, normal
from omlab_testkit.subjects import (
    CardSubject,
    GoldenSubject,
    ModelSubject,
    RecipeSubject,
    Subject,
    WeightsSubject,
)

if TYPE_CHECKING:
    from omlab_testkit.checks import Check

Results = dict[tuple[str, int], Any]
"""What verbs give for examples, by verb and number."""


@dataclass(kw_only=True)
class Kit:
    """One distribution under test. `golden` are further folders of golden cases, `prepared` roots of data sets."""

    project: Project
    large: bool = False
    golden: Sequence[Path] = ()
    prepared: set[Path] = field(default_factory=set, init=False)
    _kept: tuple[str, Session, Results] | None = field(default=None, init=False)

    @cached_property
    def plugins(self) -> Plugins:
        """The plugins that this distribution alone brings."""
        return Plugins(self.entry_points, only=frozenset(), off=frozenset())

    @cached_property
    def entry_points(self) -> list[Any]:
        """Its entry points of the group `omlab`."""
        wanted = normal(self.project.name)
        return [e for e in entry_points(group=GROUP) if e.dist is not None and normal(e.dist.name) == wanted]

    @cached_property
    def offers(self) -> list[Card]:
        """All its cards, not validated."""
        registry = Registry(self.plugins)
        return [card for kind in KINDS for card in registry.cards(kind)]

    def subjects(self, scope: str) -> Sequence[Subject]:
        """What there is to check of a scope: plugin, card, a kind of card, verb, recipe, weights or golden."""
        if scope == "plugin":
            return [Subject(kit=self, id=self.project.name)]
        if scope == "card":
            return [CardSubject(kit=self, id=f"{o.kind}-{o.name}", offer=o) for o in self.offers]
        if scope == "golden":
            return self.golden_files
        if scope == "verb":
            return [model.of_verb(verb) for model in self.models for verb in model.model_card.does]
        if scope == "recipe":
            return [recipe for model in self.models for recipe in self._recipes(model)]
        if scope == "weights":
            return [weights for model in self.models for weights in self._weights(model)]
        if scope == "model":
            return self.models
        return [CardSubject(kit=self, id=offer.name, offer=offer) for offer in self.of_kind(cast(Kind, scope))]

    def is_slow(self, check: Check, subject: Subject) -> bool:
        """Whether a check takes long, or is made on a model of the same code, or on files of the same form, already."""
        alike = isinstance(subject, ModelSubject) and subject.name in self.project.like and not check.each
        if isinstance(subject, WeightsSubject):
            alike = subject.is_like_an_earlier
        return alike or self.project.is_slow(check.name, subject.id)

    def of_kind(self, kind: Kind) -> list[Card]:
        """The valid cards of a kind."""
        return [offer for offer in self.offers if offer.kind == kind and _is_valid(offer)]

    @cached_property
    def models(self) -> list[ModelSubject]:
        """The valid model cards."""
        return [ModelSubject(kit=self, id=offer.name, offer=offer) for offer in self.of_kind("model")]

    @cached_property
    def golden_files(self) -> list[GoldenSubject]:
        """The golden files in `tests/golden` and in the further folders that `tests/parity.py` is to answer."""
        tests = self.project.tests
        folders = [*([tests / "golden"] if tests else []), *self.golden]
        return [
            GoldenSubject(kit=self, id=f"{path.parent.name}/{path.name}", path=path)
            for path in parity.find_cases(folders, tests=tests)
        ]

    def kept(self, subject: ModelSubject) -> tuple[Session, Results]:
        """The session of a model and what its verbs gave; one is kept at a time."""
        if self._kept is None or self._kept[0] != subject.name:
            self._kept = None  # before the next one is built: two may not fit
            self._kept = (subject.name, subject.load(), {})
        return self._kept[1], self._kept[2]

    def _recipes(self, model: ModelSubject) -> list[RecipeSubject]:
        return [
            RecipeSubject(kit=self, id=f"{model.name}/{recipe}", offer=model.offer, recipe=recipe)
            for recipe in model.model_card.trains
        ]

    def _weights(self, model: ModelSubject) -> list[WeightsSubject]:
        return [
            WeightsSubject(kit=self, id=f"{model.name}.{tag}", offer=model.offer, tag=tag)
            for tag, weights in model.model_card.weights.items()
            if weights.endpoint is None
        ]


def _is_valid(offer: Card) -> bool:
    try:
        validate(offer)
    except CardError:
        return False
    return True


def require_alike(kit: Kit) -> None:
    """Raise `UsageError` where a model is not like the one that it is said to be like: of its entry, verbs, recipes."""
    models = {model.name: model.model_card for model in kit.models}
    for name, other in kit.project.like.items():
        if missing := [one for one in (name, other) if one not in models]:
            raise UsageError(
                f"[tool.omlab-testkit.like] of '{kit.project.name}' names '{missing[0]}', which is no model."
            )
        if other in kit.project.like:
            raise UsageError(f"[tool.omlab-testkit.like]: '{name}' is like '{other}', which is itself like another.")
        first, second = (_form(models[one]) for one in (name, other))
        if differing := [what for what in first if first[what] != second[what]]:
            raise UsageError(
                f"[tool.omlab-testkit.like]: '{name}' is not like '{other}': its {differing[0]} is another."
            )


def _form(card: ModelCard) -> dict[str, object]:
    """What models of the same code and other numbers have in common."""
    verbs = {
        verb: [dict(facts.kinds), dict(facts.accepts), facts.gives, facts.grid, facts.frame, sorted(facts.options)]
        for verb, facts in card.does.items()
    }
    return {"entry": card.entry, "list of verbs": verbs, "list of recipes": sorted(card.trains)}


def require_distribution(kit: Kit) -> None:
    """Raise `UsageError` where the distribution is not installed as a plugin."""
    if not kit.entry_points:
        raise UsageError(
            f"'{kit.project.name}' is not installed as a plugin: it has no entry point in the group '{GROUP}' here. "
            "Install it (uv pip install -e .)."
        )

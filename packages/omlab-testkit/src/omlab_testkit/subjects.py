"""What checks are made on: a plugin, its cards, their verbs and recipes, their weights, and golden files.

Every subject knows its `kit`. Runtime subjects exist only for cards that are valid and can be listed; what is wrong
with the others is said by the checks of cards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omlab.card_schema import BaseCard, ModelCard, Training, Verb, validate
from omlab.card_schema import Weights as WeightsCard
from omlab.cards import Card
from omlab.payloads import Inputs, describe
from omlab.registry import load_entry
from omlab.session import Prepared, Session
from omlab.settings import complete
from omlab.weights.handed import Rules
from omlab_testkit import cases, examples
from omlab_testkit.example_data import example_data
from omlab_testkit.loading import LARGE, answering, model_ref, quiet
from omlab_testkit.outcome import PromiseError
from omlab_testkit.project import overrides

if TYPE_CHECKING:
    from omlab.roles import Dataset
    from omlab.weights import Weights
    from omlab_testkit.kit import Kit


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a check is made on; for the plugin as a whole just this."""

    kit: Kit
    id: str

    @property
    def group(self) -> str:
        """Checks of one group are made one after the other, so that a model is built once."""
        return f"{self.kit.project.name}:"

    @property
    def tests(self) -> Path | None:
        """The folder `tests/` of the package, where it is known."""
        return self.kit.project.tests


@dataclass(frozen=True, kw_only=True)
class GoldenSubject(Subject):
    """A golden file: of a network, or of whatever `check` of `tests/parity.py` answers."""

    path: Path


@dataclass(frozen=True, kw_only=True)
class CardSubject(Subject):
    """A card, and what its entry gives."""

    offer: Card

    @property
    def group(self) -> str:
        """The card."""
        return f"{self.kit.project.name}:{self.offer.kind}-{self.name}"

    @property
    def name(self) -> str:
        """The card's name."""
        return self.offer.name

    @property
    def card(self) -> BaseCard:
        """The card, validated. Raises `CardError`."""
        return validate(self.offer)

    @property
    def entry(self) -> Any:
        """The object that the card's entry names. Raises `CardError` or `MissingDependencyError`."""
        return load_entry(self.offer, self.card.entry)

    @property
    def settings(self) -> dict[str, Any]:
        """The card's settings, complete, with what the package's pyproject.toml says for the kit."""
        given = overrides(self.kit.project.settings, self.name)
        return complete(self.card.settings, given, of=f"'{self.name}'")

    def examples(self, kind: str) -> Sequence[Any]:
        """Example payloads of `kind`."""
        return examples.examples(kind, card=self.name, tests=self.tests)

    def odd(self, kind: str) -> Mapping[str, Any]:
        """Odd payloads of `kind`."""
        return examples.odd(kind, card=self.name, tests=self.tests)

    def own(self, function: str, *arguments: Any) -> Any:
        """What a function of the package's `tests/examples.py` says of this card; None: nothing."""
        return examples.own(function, self.name, *arguments, tests=self.tests)


@dataclass(frozen=True, kw_only=True)
class ModelSubject(CardSubject):
    """A model card, with its model: untrained, or answered by a stand-in where it is an endpoint."""

    @property
    def model_card(self) -> ModelCard:
        """The card, validated."""
        return cast(ModelCard, self.card)

    @property
    def is_large(self) -> bool:
        """Whether the model has more parameters than the kit runs unless asked to."""
        return (self.model_card.parameters or 0) > LARGE

    def load(self, *, weights: Weights | None = None, device: str = "cpu") -> Session:
        """A new session. Reservations (`OmlabWarning`) are not errors."""
        with quiet():
            return model_ref(self, weights=weights, device=device).session()

    def build(self, *, config: Mapping[str, Any], weights: Path) -> Any:
        """The model of an earlier `config()` with saved tensors, as an adapter has it built."""
        from omlab.models import ModelBase

        with quiet():
            return ModelBase(model_ref(self)).build(config=config, weights=weights)

    def held(self, model: Any, *, does: Mapping[str, Verb] | None = None) -> Session:
        """A session that holds another model to this card, or to other verbs."""
        card = self.model_card if does is None else self.model_card.model_copy(update={"does": dict(does)})
        return Session(model, card=card, identity={}, name=self.name, is_untrained=True)

    @property
    def session(self) -> Session:
        """The model as the kit has it, shared by the checks that leave it as it is; one is kept at a time."""
        return self.kit.kept(self)[0]

    @property
    def model(self) -> Any:
        """The model itself."""
        return self.session.model

    def of_verb(self, verb: str) -> VerbSubject:
        """A verb of this model."""
        return VerbSubject(kit=self.kit, id=f"{self.name}/{verb}", offer=self.offer, verb=verb)


@dataclass(frozen=True, kw_only=True)
class VerbSubject(ModelSubject):
    """A verb of a model."""

    verb: str

    @property
    def what(self) -> str:
        """As messages call it."""
        return f"'{self.verb}' of '{self.name}'"

    @property
    def facts(self) -> Verb:
        """What the card says of it."""
        return self.model_card.does[self.verb]

    @property
    def options(self) -> dict[str, Any]:
        """The options that pyproject.toml gives for the kit."""
        tables = self.kit.project.options
        return {**overrides(tables, self.name), **overrides(tables, self.id)}

    @property
    def cases(self) -> Sequence[Inputs]:
        """Example inputs, a mapping for each case."""
        return cases.example_cases(self, self.facts)

    def apply(
        self, batch: Sequence[Inputs | Prepared], *, session: Session | None = None, **options: Any
    ) -> Sequence[Any]:
        """What the verb gives for a batch; an `OmlabError` stands for a case that failed."""
        with quiet(), answering(self.model_card):
            found = session if session is not None else self.session
            return found.apply(self.verb, batch, **{**self.options, **options})

    def results(
        self, batch: Sequence[Inputs | Prepared], *, what: str, session: Session | None = None, **options: Any
    ) -> Sequence[Any]:
        """What the verb gives for cases that it must be able to do. Raises `PromiseError`."""
        found = self.apply(batch, session=session, **options)
        for result in found:
            if isinstance(result, Exception):
                raise PromiseError(f"{self.what} fails for {what}: {result}") from result.__cause__
        return found

    def result(self, index: int) -> Any:
        """What it gives for example `index` alone, worked out once."""
        known = self.kit.kept(self)[1]
        if (self.verb, index) not in known:
            known[self.verb, index] = self.results([self.cases[index]], what=f"example {index}")[0]
        return known[self.verb, index]


@dataclass(frozen=True, kw_only=True)
class RecipeSubject(ModelSubject):
    """A recipe of a model."""

    recipe: str

    @property
    def what(self) -> str:
        """As messages call it."""
        return f"The recipe '{self.recipe}' of '{self.name}'"

    @property
    def training(self) -> Training:
        """What the card says of it."""
        return self.model_card.trains[self.recipe]

    @property
    def recipe_settings(self) -> dict[str, Any]:
        """Its settings, complete, with what pyproject.toml says for the kit; for the card, as far as it has them."""
        tables, known = self.kit.project.training, self.training.settings
        others = {name for facts in self.model_card.trains.values() for name in facts.settings} - set(known)
        for_card = {name: value for name, value in overrides(tables, self.name).items() if name not in others}
        given = {**for_card, **overrides(tables, self.id)}
        return complete(known, given, of=f"the recipe '{self.recipe}' of '{self.name}'")

    @property
    def data(self) -> Dataset:
        """What it is tried on: the package's own, else example inputs with example targets."""
        found = self.own("data", self.recipe)
        if found is not None:
            return cast("Dataset", found)
        inputs, kind = self._inputs(), self.training.target
        targets = self.examples(kind) if kind else None
        if targets is not None and len(targets) != len(inputs):
            raise PromiseError(f"There are {len(inputs)} example inputs but {len(targets)} targets for '{self.id}'.")
        return example_data(inputs, targets)

    def _inputs(self) -> list[dict[str, Any]]:
        """Those of a verb; what a user points at is not among them, for data sets have none and recipes make it."""
        does = self.model_card.does
        verb = next((verb for verb in (*self.training.gives, *does) if verb in does), None)
        if verb is None:
            raise PromiseError(f"'{self.name}' has no verb that tells its inputs: write data() in tests/examples.py.")
        found = self.of_verb(verb).cases
        return [{name: one for name, one in case.items() if describe(one) != cases.PROMPTS} for case in found]


@dataclass(frozen=True, kw_only=True)
class WeightsSubject(ModelSubject):
    """The published weights of one tag."""

    tag: str

    @property
    def is_like_an_earlier(self) -> bool:
        """Whether a tag further up in the card has files of the same form and rules, as folds have."""
        forms = {tag: _form(weights) for tag, weights in self.model_card.weights.items()}
        earlier = takewhile(lambda tag: tag != self.tag, forms)
        return bool(forms[self.tag]) and any(forms[tag] == forms[self.tag] for tag in earlier)


def _form(weights: WeightsCard) -> list[object]:
    """What files have in common that are read alike; nothing of a repository, whose files the card does not name."""
    return [(Path(file.name).suffix, Rules.of(file)) for file in weights.files]

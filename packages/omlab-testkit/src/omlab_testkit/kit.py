"""The plugin under test: its cards, and the subjects that checks are made on.

Every subject knows its `kit`. Runtime subjects exist only for cards that are valid and can be listed;
what is wrong with the others is said by the checks of cards.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omlab import settings as omlab_settings
from omlab.card_schema import PROMPT_KINDS, BaseCard, ModelCard, WeightsFile, validate
from omlab.cards import KINDS, Card, Kind
from omlab.errors import CardError, OmlabWarning, UsageError
from omlab.plugins import GROUP, Plugins
from omlab.prompts import Prompts, Space
from omlab.registry import Registry, load_entry
from omlab_testkit import examples, parity
from omlab_testkit.compare import fingerprint
from omlab_testkit.outcome import PromiseError
from omlab_testkit.project import Project, normal, overrides

if TYPE_CHECKING:
    from torch import Tensor

LARGE = 100_000_000
"""A model of more parameters is run only where `--omlab-large` is given."""


@dataclass(kw_only=True)
class Kit:
    """One distribution under test. `golden` are further folders of golden cases."""

    project: Project
    large: bool = False
    golden: Sequence[Path] = ()
    _loaded: tuple[str, Any, dict[int, Any]] | None = field(default=None, init=False)

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
        """What there is to check of a scope: `plugin`, `card`, a kind of card, `weights` or `golden`."""
        if scope == "plugin":
            return [Subject(kit=self, id=self.project.name)]
        if scope == "card":
            return [CardSubject(kit=self, id=_id(offer), offer=offer) for offer in self.offers]
        if scope == "golden":
            return self.golden_cases
        if scope == "weights":
            return [subject for model in self.of_kind("model") for subject in self._weights(model)]
        return self.of_kind(cast(Kind, scope))

    def of_kind(self, kind: Kind) -> list[CardSubject]:
        """The valid cards of a kind."""
        make = ModelSubject if kind == "model" else CardSubject
        offers = [offer for offer in self.offers if offer.kind == kind and _is_valid(offer)]
        return [make(kit=self, id=offer.name, offer=offer) for offer in offers]

    @cached_property
    def golden_cases(self) -> list[GoldenSubject]:
        """The network cases of `tests/golden` and of the further folders."""
        tests = self.project.tests
        folders = [*([tests / "golden"] if tests else []), *self.golden]
        return [
            GoldenSubject(kit=self, id=f"{path.parent.name}/{path.name}", path=path)
            for path in parity.find_cases(folders)
        ]

    def _weights(self, model: CardSubject) -> list[WeightsSubject]:
        card = cast(ModelCard, model.card)
        return [
            WeightsSubject(kit=self, id=f"{card.name}.{tag}/{file.name}", offer=model.offer, file=file)
            for tag, weights in card.weights.items()
            for file in weights.files
        ]


def _id(offer: Card) -> str:
    return f"{offer.kind}-{offer.name}"


def _is_valid(offer: Card) -> bool:
    try:
        validate(offer)
    except CardError:
        return False
    return True


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
    """A golden case."""

    path: Path


@dataclass(frozen=True, kw_only=True)
class CardSubject(Subject):
    """A card, and what its entry gives."""

    offer: Card

    @property
    def group(self) -> str:
        """The card."""
        return f"{self.kit.project.name}:{_id(self.offer)}"

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
        return omlab_settings.complete(self.card, overrides(self.kit.project.settings, self.name))

    def examples(self, kind: str) -> Sequence[Any]:
        """Example payloads of `kind`."""
        return examples.examples(kind, card=self.name, tests=self.tests)

    def odd(self, kind: str) -> Mapping[str, Any]:
        """Odd payloads of `kind`."""
        return examples.odd(kind, card=self.name, tests=self.tests)


@dataclass(frozen=True, kw_only=True)
class ModelSubject(CardSubject):
    """A model card with its untrained model."""

    @property
    def model_card(self) -> ModelCard:
        """The card, validated."""
        return cast(ModelCard, self.card)

    @property
    def is_large(self) -> bool:
        """Whether the model has more parameters than the kit runs unless asked to."""
        return (self.model_card.parameters or 0) > LARGE

    @property
    def inputs(self) -> Sequence[Any]:
        """Example payloads of the kind that the model takes."""
        return self.examples(self.model_card.takes)

    def load(self, *, weights: Path | None = None, config: Mapping[str, Any] | None = None, device: str = "cpu") -> Any:
        """A new model. Reservations (`OmlabWarning`) are not errors."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OmlabWarning)
            return self.entry(self.model_card, weights=weights, device=device, settings=self.settings, config=config)

    @property
    def model(self) -> Any:
        """The untrained model, shared by the checks that leave it as it is; one is kept at a time."""
        if self.kit._loaded is None or self.kit._loaded[0] != self.name:
            self.kit._loaded = None  # before the next one is built: two may not fit
            self.kit._loaded = (self.name, self.load(), {})
        return self.kit._loaded[1]

    def prediction(self, index: int) -> Any:
        """What the untrained model predicts for example `index`, worked out once."""
        _ = self.model  # it is this one's predictions that are kept
        assert self.kit._loaded is not None
        known = self.kit._loaded[2]
        if index not in known:
            known[index] = self.predict(self.inputs[index])
        return known[index]

    @property
    def prompt_kinds(self) -> frozenset[str]:
        """The kinds of prompts that the model takes."""
        return frozenset(PROMPT_KINDS) & frozenset(self.model_card.capabilities)

    @property
    def prompt_examples(self) -> examples.PromptExamples:
        """How the model's inputs are pointed at."""
        return examples.prompt_examples(self.model_card.takes, card=self.name)

    def prompts(self, payload: Any, *, target: Any | None = None, space: Space = "voxel") -> Prompts:
        """Prompts for `payload`, of the kinds that the model takes: at the objects of `target`.

        Without a target it is the example's, where `payload` is one of the example inputs, else the middle.
        """
        if target is None:
            print_of = fingerprint(payload)
            pairs = zip(self.inputs, self.examples(self.model_card.gives), strict=False)
            target = next((target for known, target in pairs if fingerprint(known) == print_of), None)
        every = self.prompt_examples.prompts(payload, target, space=space)
        rest = dict.fromkeys(set(PROMPT_KINDS) - self.prompt_kinds, ())
        objects = tuple(entry.model_copy(update=rest) for entry in every.objects)
        if any(not entry.kinds for entry in objects):
            raise PromiseError(f"There are no example prompts of a kind that '{self.name}' takes.")
        return every.model_copy(update={"objects": objects})

    def predict(self, payload: Any, *, model: Any = None) -> Any:
        """What `model` (the untrained one) predicts for `payload`: with example prompts, where it needs some."""
        model = self.model if model is None else model
        if not self.model_card.needs_prompts:
            return predict(model, payload)
        is_ours = payload.kind == self.model_card.takes
        return predict(model, payload, prompts=self.prompts(payload if is_ours else self.inputs[0]))


@dataclass(frozen=True, kw_only=True)
class WeightsSubject(ModelSubject):
    """One weights file of a model card."""

    file: WeightsFile


def predict(model: Any, payload: Any, *, prompts: Prompts | None = None) -> Any:
    """`model.predict(payload)`, with prompts where there are some, its reservations (`OmlabWarning`) aside."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OmlabWarning)
        return model.predict(payload) if prompts is None else model.predict(payload, prompts=prompts)


def network(model: Any, *, name: str) -> Any:
    """The `torch.nn.Module` of a model. Raises `PromiseError` where it shows none."""
    module = getattr(model, "module", None)
    if module is None or not hasattr(module, "state_dict"):
        raise PromiseError(f"'{name}' does not show its network: give the model an attribute 'module'.")
    return module


def other_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` with every floating-point entry a little different, the same each time; variances stay positive."""
    import torch

    generator = torch.Generator().manual_seed(20240501)
    changed = {}
    for key, tensor in state.items():
        value = tensor.detach().cpu().clone()
        if value.is_floating_point():
            noise = torch.rand(value.shape, generator=generator, dtype=torch.float32).to(value.dtype)
            value = value * (1 + 0.05 * noise) + 0.01 * noise
        changed[key] = value
    return changed


def require_distribution(kit: Kit) -> None:
    """Raise `UsageError` where the distribution is not installed as a plugin."""
    if not kit.entry_points:
        raise UsageError(
            f"'{kit.project.name}' is not installed as a plugin: it has no entry point in the group '{GROUP}'."
        )

"""From a model's name to a session: card, weights, needs, settings, device; adapted models likewise."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omlab.adapted import ADAPTED, ADAPTED_WEIGHTS, Description, read_description
from omlab.arguments import name_of, path_of, table_of
from omlab.card_schema import AdapterCard, ModelCard, validate
from omlab.cards import Card
from omlab.devices import resolve_device
from omlab.digests import digest_of
from omlab.errors import PluginError, SettingsError, UnknownNameError, UsageError, WeightsError
from omlab.gates import gates_of
from omlab.registry import load_entry, registry
from omlab.roles import Adapter, Model, Trainable
from omlab.session import Session
from omlab.settings import complete, decisive
from omlab.suggest import did_you_mean
from omlab.versions import package_versions, uses_torch
from omlab.weights import LOCAL, UNTRAINED, Weights, resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

Needs = Mapping[str, "str | Path"]
UNTRAINED_NOTE = "The weights of '{name}' are untrained: drawn at random, so that what it gives means nothing."


@dataclass(frozen=True, kw_only=True)
class ModelRef:
    """A model that has been found but not built: `identity` says exactly which, `session` builds it.

    `card` is what it does: of an adapted model its own, `offer` the card of the architecture behind it.
    """

    name: str
    card: ModelCard
    offer: Card
    tag: str
    weights: Weights | None
    settings: Mapping[str, Any]
    device: str
    needs: Mapping[str, ModelRef] = field(default_factory=dict)
    adapted: Path | None = None
    description: Description | None = None
    base: ModelRef | None = None
    later: Callable[[], Weights | None] | None = None

    def ready(self) -> ModelRef:
        """With its weights at hand: those of an adapted model's base are only fetched where they are used."""
        return self if self.later is None else replace(self, weights=self.later(), later=None)

    @property
    def all_settings(self) -> dict[str, Any]:
        """Its settings, and as `encoder.step` those of what it needs: what `find_model` takes."""
        of_needs = {
            f"{name}.{key}": value for name, need in self.needs.items() for key, value in need.all_settings.items()
        }
        return {**self.settings, **of_needs}

    @property
    def is_untrained(self) -> bool:
        """Whether its weights are drawn at random, or those of something that it needs."""
        if self.base is not None:
            return False
        return self.tag == UNTRAINED or any(need.is_untrained for need in self.needs.values())

    def identity(self) -> dict[str, Any]:
        """What a run log says of the model: enough to have the very same again. Never a time."""
        found: dict[str, Any] = {
            "name": self.name,
            "card": digest_of(dict(self.offer.data)),
            "packages": package_versions(self.offer.distribution),
            "weights": {"tag": self.tag, "sha256": dict(self.weights.sha256) if self.weights else None},
            "settings": decisive(self.card.settings, self.settings),
            "needs": {name: need.identity() for name, need in self.needs.items()},
        }
        if self.description is not None and self.base is not None:
            found |= {"adapted": digest_of(self.description.to_json()), "base": dict(self.description.base_identity)}
        return found

    def session(self) -> Session:
        """Build the model on its device."""
        if self.description is None or self.base is None:
            model = ModelBase(self).build_own()
        else:
            adapter = load_adapter(self.description.adapter, self.description.adapter_settings)[1]
            assert self.adapted is not None
            base = ModelBase(replace(self.base, device=self.device), made=self.description.base_identity)
            model = adapter.restore(base, config=self.description.config, tensors=self.adapted / ADAPTED_WEIGHTS)
        return Session(
            model,
            card=self.card,
            identity=self.identity(),
            name=self.name,
            is_untrained=self.is_untrained,
            gates=gates_of(self.card, self.settings),
        )


class ModelBase:
    """A found model as adapters see it (`omlab.roles.Base`).

    `made`: the identity of what an adapted model was made from; where its weights are used, they must be the same.
    """

    def __init__(self, ref: ModelRef, *, made: Mapping[str, Any] | None = None) -> None:
        self._ref = ref
        self._made = made
        self._session: Session | None = None

    @property
    def device(self) -> str:
        """Where work is done."""
        return self._ref.device

    @cached_property
    def ref(self) -> ModelRef:
        """What was found, with its weights. Raises `WeightsError` where they are not those it must have."""
        ref = self._ref.ready()
        if self._made and weights_in(self._made) != weights_in(ref.identity()):
            raise WeightsError(
                f"The weights of '{ref.name}' are not those that the adapted model was made from, "
                "of which it holds only the changes: put those back, or adapt again."
            )
        return ref

    def session(self) -> Session:
        """The loaded model, the same each time."""
        if self._session is None:
            self._session = self.ref.session()
        return self._session

    def trainable(self, *, device: str | None = None) -> Trainable:
        """The model, built anew each time, on its device or another. Raises `UsageError` where it has no recipes."""
        if not self.ref.card.trains:
            raise UsageError(f"'{self.ref.name}' has no recipe: it cannot be trained.")
        model = replace(self.ref, device=device or self.device).session().model
        lacking = [part for part in ("module", "layers", "retarget", "recipe", "config") if not hasattr(model, part)]
        if lacking and self.ref.adapted is not None:
            raise UsageError(f"'{self.ref.name}' was adapted in a way that cannot be trained further.")
        if lacking:
            raise PluginError(f"'{self.ref.name}' has recipes on its card but no {', '.join(lacking)}.")
        return cast(Trainable, model)

    def build_own(self) -> Model:
        """The model as it was found."""
        return self._build(weights=self.ref.weights, config=None)

    def build(self, *, config: Mapping[str, Any] | None, weights: Path | None) -> Model:
        """The model of the card with that configuration and those tensors (safetensors; None: untrained)."""
        return self._build(
            weights=Weights.plain(weights, tag="adapted") if weights is not None else None, config=config
        )

    def defaults(self, recipe: str | None, adapter: str) -> Mapping[str, Any]:
        """What the model's card advises an adapter."""
        facts = self._ref.card.trains.get(recipe) if recipe else None
        return dict(facts.defaults.get(adapter, {})) if facts else {}

    def _build(self, *, weights: Weights | None, config: Mapping[str, Any] | None) -> Model:
        ref = self._ref if self._ref.base is None else self._ref.base
        card = cast(ModelCard, validate(ref.offer))
        entry = load_entry(ref.offer, card.entry)
        needs = {name: need.session() for name, need in ref.needs.items()}

        def built() -> Any:
            with _seeded():
                return entry(
                    card, weights=weights, needs=needs, device=self.device, settings=dict(ref.settings), config=config
                )

        could_seed = "torch" in sys.modules
        model = built()
        if weights is None and not could_seed and "torch" in sys.modules:
            model = built()  # the entry itself imported torch, after its draws could be seeded
        return cast(Model, model)


def untrained_notes(model: ModelRef | Session) -> list[str]:
    """A sentence on a model whose weights are drawn at random, and on where to get others; none on another."""
    if not model.is_untrained:
        return []
    card, found = model.card, UNTRAINED_NOTE.format(name=model.name)
    if not card.weights and not card.demonstration:
        way = "bring some with --weights, or adapt it" if card.trains else "bring some with --weights"
        found += f" None can be fetched for it: {way} (see: omlab info {card.name})."
    return [found]


def weights_in(identity: Mapping[str, Any]) -> Any:
    """The digests of all weights that an identity tells of: its own, those of what it needs and of its base."""
    own = (identity.get("weights") or {}).get("sha256") or {}
    needs = {name: weights_in(need) for name, need in (identity.get("needs") or {}).items()}
    base = identity.get("base")
    return sorted(own.values()), needs, weights_in(base) if base else None


@contextmanager
def _seeded() -> Iterator[None]:
    """Draw untrained weights from seed 0, so that the same command gives the same; torch is not imported for it."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def find_card(name: str | Path) -> ModelCard:
    """What a model does; no weights are looked for.

    Raises `UnknownNameError`, `UsageError` or `CardError`.
    """
    folder = Path(name_of(name, "The model"))
    if (folder / ADAPTED).is_file():
        description = read_description(folder)
        return _own_card(description, _base_card(folder, description))
    return cast(ModelCard, validate(_split_name(str(name))[0]))


def _base_card(folder: Path, description: Description) -> ModelCard:
    return find_card(folder / description.base_folder if description.base_folder else description.base)


def _own_card(description: Description, base: ModelCard) -> ModelCard:
    return base.model_copy(update={"does": dict(description.verbs())})


def find_model(
    name: str | Path,
    *,
    weights: str | Path | None = None,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
    needs: Needs | None = None,
    offline: bool | None = None,
    later: bool = False,
) -> ModelRef:
    """Find a model by name (`architecture.weights`) or adapted-model folder, fetching weights if need be.

    `later`: they are fetched by `ModelRef.ready`.

    Raises `UnknownNameError`, `UsageError`, `SettingsError`, `WeightsError` or `DownloadError`.
    """
    folder = Path(name_of(name, "The model"))
    settings, needs = table_of(settings, "The settings"), table_of(needs, "The needs")
    weights = path_of(weights, "The weights") if weights is not None else None
    if (folder / ADAPTED).is_file():
        return _find_adapted(folder, weights=weights, device=device, settings=settings, needs=needs, offline=offline)
    offer, named = _split_name(str(name))
    card = cast(ModelCard, validate(offer))
    own, of_needs = _for_needs(settings, card)
    chosen = complete(card.settings, own, of=f"'{card.name}'")
    tag = LOCAL if weights else named or card.default_weights
    if tag == UNTRAINED and card.is_remote:
        raise UsageError(f"'{card.name}' answers through an endpoint: there is no untrained form of it.")
    if card.check is not None:
        load_entry(offer, card.check)(chosen, weights=tag)
    needed = _find_needs(card, needs, settings=of_needs, untrained=tag == UNTRAINED, device=device, offline=offline)
    device = _device_for(offer, needed, device)

    def fetch() -> Weights | None:
        return resolve(card, named, weights=weights, settings=chosen, offline=offline)

    return ModelRef(
        name=f"{card.name}.{tag}",
        card=card,
        offer=offer,
        tag=tag,
        weights=None if later else fetch(),
        later=fetch if later else None,
        settings=chosen,
        device=device,
        needs=needed,
    )


def _device_for(offer: Card, needs: Mapping[str, ModelRef], device: str) -> str:
    """Where a model works: one that does not use torch itself goes where what it needs is."""
    resolved = resolve_device(device, torch_used=uses_torch(offer.distribution))
    return next((need.device for need in needs.values() if need.device != "cpu"), resolved)


def load_model(
    name: str | Path,
    *,
    weights: str | Path | None = None,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
    needs: Needs | None = None,
    offline: bool | None = None,
) -> Session:
    """A model ready to work.

    Args:
        name: `stunet-base`, `stunet-base.totalsegmentator`, `stunet-base.untrained`, or the folder of an adapted model.
        weights: A local checkpoint to use instead of published weights.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        settings: Values for the settings of the model's card.
        needs: Other models for those that the card needs: the card's name for it to a name or folder.
        offline: True: never fetch, fail where the weights are not in the cache (default: `OMLAB_OFFLINE`).

    Raises:
        OmlabError: One sentence that says what was wrong and what to do.
    """
    ref = find_model(name, weights=weights, device=device, settings=settings, needs=needs, offline=offline)
    return ref.session()


def load_adapter(name: str, settings: Mapping[str, Any]) -> tuple[AdapterCard, Adapter, dict[str, Any]]:
    """An adapter by name, with its card and complete settings."""
    offer = registry().get("adapter", name)
    card = cast(AdapterCard, validate(offer))
    chosen = complete(card.settings, settings, of=f"'{card.name}'")
    return card, cast(Adapter, load_entry(offer, card.entry)(card, settings=chosen)), chosen


def _for_needs(settings: Mapping[str, Any], card: ModelCard) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Settings of the model itself, and by need those of what it needs, which `encoder.step` says."""
    own: dict[str, Any] = {}
    of_needs: dict[str, dict[str, Any]] = {name: {} for name in card.needs}
    for name, value in settings.items():
        need, _, setting = str(name).partition(".")
        if setting and need in of_needs:
            of_needs[need][setting] = value
        else:
            own[name] = value
    return own, of_needs


def _find_needs(
    card: ModelCard,
    given: Needs,
    *,
    settings: Mapping[str, Mapping[str, Any]],
    untrained: bool,
    device: str,
    offline: bool | None,
) -> dict[str, ModelRef]:
    for name in given:
        if name not in card.needs:
            hint = did_you_mean(name, card.needs, none="it needs no other model.")
            raise UsageError(f"'{card.name}' has no need '{name}': {hint}")
    found = {}
    for name, default in card.needs.items():
        if name not in card.needed and name not in given:
            if settings[name]:
                raise SettingsError(f"'{card.name}' works without its {name}, which has settings: name it with --need.")
            continue
        wanted: str | Path = given.get(name, default)
        if untrained and name not in given:
            wanted = f"{default.partition('.')[0]}.{UNTRAINED}"
        try:
            found[name] = find_model(wanted, device=device, settings=settings[name], offline=offline)
        except UnknownNameError as error:
            if name in given:
                raise
            raise PluginError(
                f"'{card.name}' needs the model '{default}' as its {name}, which no installed package offers: install "
                f"one that does, or name another with --need {name}=MODEL."
            ) from error
    return found


def _split_name(name: str) -> tuple[Card, str]:
    base, _, tag = name.partition(".")
    try:
        offer = registry().get("model", base)
    except UnknownNameError:
        if Path(name).is_dir():
            raise UsageError(f"{name} is a folder, but not of an adapted model: it has no {ADAPTED}.") from None
        if "/" in name or os.sep in name:
            raise UsageError(f"{name} does not exist; a model is a name or the folder of an adapted model.") from None
        raise
    known: Sequence[str] = [*offer.weights, UNTRAINED]
    if tag and tag not in known:
        hint = did_you_mean(tag, known, none="it has none.")
        raise UnknownNameError(f"'{base}' has no weights '{tag}': {hint}")
    return offer, tag


def _in(folder: Path, name: str) -> str | Path:
    """A model that is kept in the folder of an adapted one, else its name."""
    return folder / name if (folder / name / ADAPTED).is_file() else name


def _find_adapted(
    folder: Path,
    *,
    weights: str | Path | None,
    device: str,
    settings: Mapping[str, Any],
    needs: Needs,
    offline: bool | None,
) -> ModelRef:
    if weights is not None:
        raise UsageError(f"{folder} is an adapted model with weights of its own: leave --weights out.")
    description = read_description(folder)
    if not (folder / ADAPTED_WEIGHTS).is_file():
        raise WeightsError(f"The adapted model {folder} has no {ADAPTED_WEIGHTS}.")
    nested = folder / description.base_folder if description.base_folder else None
    replaced = tuple(f"{need}." for need in needs)  # settings of what these stand for are none of theirs
    kept = {name: value for name, value in description.settings.items() if not name.startswith(replaced)}
    base = find_model(
        nested or description.base,
        weights=description.base_weights,
        device=device,
        settings={**kept, **settings},
        needs={**{name: _in(folder, place) for name, place in description.needs.items()}, **needs},
        offline=offline,
        later=True,
    )
    return ModelRef(
        name=folder.absolute().name,
        card=_own_card(description, base.card),
        offer=base.offer,
        tag="adapted",
        weights=Weights.plain(folder / ADAPTED_WEIGHTS, tag="adapted"),
        settings=base.settings,
        device=base.device,
        needs=base.needs,
        adapted=folder,
        description=description,
        base=base,
    )

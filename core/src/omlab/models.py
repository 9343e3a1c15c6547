"""From a model's name to a model: card, weights, settings, device; adapted models likewise."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from omlab.card_schema import AdapterCard, ModelCard, validate
from omlab.cards import Card
from omlab.devices import resolve_device
from omlab.digests import digest_of, file_digest
from omlab.errors import PluginError, UnknownNameError, UsageError, WeightsError
from omlab.registry import load_entry, registry
from omlab.roles import Adapter, Model
from omlab.settings import complete
from omlab.weights import UNTRAINED, resolve

ADAPTED = "adapted.json"
ADAPTED_WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, kw_only=True)
class ModelRef:
    """A model that has been found but not built: `identity` says exactly which, `load` builds it."""

    name: str
    card: ModelCard
    offer: Card
    tag: str
    weights: Path | None
    settings: Mapping[str, Any]
    device: str
    adapted: Path | None = None
    description: Mapping[str, Any] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """What a run log says of the model: enough to have the very same again."""
        return {
            "name": self.name,
            "card": digest_of(dict(self.offer.data)),
            "distribution": self.offer.distribution,
            "version": version(self.offer.distribution) if self.offer.distribution else "",
            "weights": {"tag": self.tag, "sha256": file_digest(self.weights) if self.weights else None},
            "adapted": digest_of(self.description) if self.adapted else None,
            "settings": dict(self.settings),
        }

    def load(self) -> Model:
        """Build the model on its device."""
        if self.adapted is None:
            return self._build(weights=self.weights, config=None)
        adapter = _adapter_of(self.description)
        return adapter.restore(self._build, config=self.description["config"], weights=self.adapted / ADAPTED_WEIGHTS)

    def _build(self, *, weights: Path | None, config: Mapping[str, Any] | None) -> Model:
        entry = load_entry(self.offer, self.card.entry)
        model = entry(self.card, weights=weights, device=self.device, settings=dict(self.settings), config=config)
        return cast(Model, model)


def find_card(name: str | Path) -> ModelCard:
    """The card of a model or of an adapted model's base; no weights are looked for.

    Raises `UnknownNameError`, `UsageError` or `CardError`.
    """
    folder = Path(name)
    base = _description(folder)["base"]["name"] if (folder / ADAPTED).is_file() else str(name)
    return cast(ModelCard, validate(_split_name(base)[0]))


def find_model(
    name: str | Path,
    *,
    weights: str | Path | None = None,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
    offline: bool | None = None,
) -> ModelRef:
    """Find a model by name (`architecture.weights`) or adapted-model folder, fetching weights if need be.

    Raises `UnknownNameError`, `UsageError`, `SettingsError`, `WeightsError` or `DownloadError`.
    """
    folder = Path(name)
    if (folder / ADAPTED).is_file():
        return _find_adapted(folder, weights=weights, device=device, settings=settings or {}, offline=offline)
    offer, tag = _split_name(str(name))
    card = cast(ModelCard, validate(offer))
    _check_needs(card)
    tag = tag or (UNTRAINED if weights else card.default_weights)
    chosen = complete(card, settings or {})
    resolved_device = resolve_device(device)
    return ModelRef(
        name=f"{card.name}.{'local' if weights else tag}",
        card=card,
        offer=offer,
        tag="local" if weights else tag,
        weights=resolve(card, tag, weights=Path(weights) if weights else None, offline=offline),
        settings=chosen,
        device=resolved_device,
    )


def load_model(
    name: str | Path,
    *,
    weights: str | Path | None = None,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
    offline: bool | None = None,
) -> Model:
    """A model ready to predict.

    Args:
        name: `stunet-base`, `stunet-base.totalsegmentator`, `stunet-base.untrained`, or the folder of an adapted model.
        weights: A local checkpoint to use instead of published weights.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        settings: Values for the settings of the model's card.
        offline: True: never fetch, fail where the weights are not in the cache (default: `OMLAB_OFFLINE`).

    Raises:
        OmlabError: One sentence that says what was wrong and what to do.
    """
    return find_model(name, weights=weights, device=device, settings=settings, offline=offline).load()


def load_adapter(name: str, settings: Mapping[str, Any]) -> tuple[AdapterCard, Adapter, dict[str, Any]]:
    """An adapter by name, with its card and complete settings."""
    offer = registry().get("adapter", name)
    card = cast(AdapterCard, validate(offer))
    chosen = complete(card, settings)
    return card, cast(Adapter, load_entry(offer, card.entry)(card, settings=chosen)), chosen


def _split_name(name: str) -> tuple[Card, str]:
    base, _, tag = name.partition(".")
    try:
        offer = registry().get("model", base)
    except UnknownNameError:
        if Path(name).is_dir():
            raise UsageError(f"{name} is a folder, but not of an adapted model: it has no {ADAPTED}.") from None
        raise
    known = [*offer.weights, UNTRAINED]
    if tag and tag not in known:
        close = difflib.get_close_matches(tag, known, n=1)
        hint = f"did you mean '{base}.{close[0]}'?" if close else f"it has {', '.join(known)}."
        raise UnknownNameError(f"'{base}' has no weights '{tag}': {hint}")
    return offer, tag


def _check_needs(card: ModelCard) -> None:
    for name in card.needs:
        try:
            registry().get("model", name.partition(".")[0])
        except UnknownNameError as error:
            raise PluginError(f"'{card.name}' needs the model '{name}', which no installed package offers.") from error


def _find_adapted(
    folder: Path, *, weights: str | Path | None, device: str, settings: Mapping[str, Any], offline: bool | None
) -> ModelRef:
    if weights is not None:
        raise UsageError(f"{folder} is an adapted model with weights of its own: leave --weights out.")
    description = _description(folder)
    if not (folder / ADAPTED_WEIGHTS).is_file():
        raise WeightsError(f"The adapted model {folder} has no {ADAPTED_WEIGHTS}.")
    offer, _ = _split_name(description["base"]["name"])
    card = cast(ModelCard, validate(offer))
    return ModelRef(
        name=folder.absolute().name,
        card=card,
        offer=offer,
        tag="adapted",
        weights=folder / ADAPTED_WEIGHTS,
        settings=complete(card, {**description["settings"], **settings}),
        device=resolve_device(device),
        adapted=folder,
        description=description,
    )


def _description(folder: Path) -> dict[str, Any]:
    """What `adapted.json` says."""
    try:
        description: dict[str, Any] = json.loads((folder / ADAPTED).read_text(encoding="utf-8"))
        str(description["base"]["name"]), dict(description["settings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder / ADAPTED} is not the description of an adapted model ({error}).") from error
    return description


def _adapter_of(description: Mapping[str, Any]) -> Adapter:
    return load_adapter(description["adapter"]["name"], description["adapter"]["settings"])[1]

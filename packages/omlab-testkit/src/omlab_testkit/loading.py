"""Models as the kit runs them: untrained, with small models for what they need, or with a stand-in for an endpoint."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from omlab.card_schema import ModelCard
from omlab.errors import OmlabWarning, UnknownNameError
from omlab.models import ModelRef, find_card, find_model
from omlab.weights import UNTRAINED, Endpoint, Weights
from omlab_testkit.outcome import CannotCheckError, PromiseError

if TYPE_CHECKING:
    from omlab.session import Session
    from omlab_testkit.subjects import ModelSubject

LARGE = 100_000_000
"""A model of more parameters is run only where `--omlab-large` is given."""

KEY = "a-key-of-the-test-kit"
"""Stands in for an endpoint's key."""


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """A session in place of a model that is needed (as much of `omlab.models.ModelRef` as a session asks for)."""

    given: Session
    is_untrained: bool = True

    def session(self) -> Session:
        """The session."""
        return self.given

    def identity(self) -> dict[str, Any]:
        """Of the session."""
        return dict(self.given.identity)


@contextmanager
def quiet() -> Iterator[None]:
    """Reservations of a model (`OmlabWarning`) are not errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OmlabWarning)
        yield


@contextmanager
def answering(card: ModelCard) -> Iterator[None]:
    """The keys of the card's endpoints are set, to something that is no key."""
    names = {weights.key_env for weights in card.weights.values() if weights.key_env}
    set_here = {name for name in names if not os.environ.get(name)}
    os.environ.update(dict.fromkeys(set_here, KEY))
    try:
        yield
    finally:
        for name in set_here:
            os.environ.pop(name, None)


def model_ref(subject: ModelSubject, *, weights: Weights | None = None, device: str = "cpu") -> ModelRef:
    """The model of a card, untrained or with the given weights.

    Raises:
        CannotCheckError: It is an endpoint, or needs a model, for which nothing small stands in.
    """
    card = subject.model_card
    if weights is None and card.is_remote:
        weights = _stand_in_endpoint(subject)
    return ModelRef(
        name=f"{card.name}.{weights.tag if weights is not None else UNTRAINED}",
        card=card,
        offer=subject.offer,
        tag=weights.tag if weights is not None else UNTRAINED,
        weights=weights,
        settings=subject.settings,
        device=device,
        needs=cast(Mapping[str, ModelRef], _needs(subject, device=device)),
    )


def _stand_in_endpoint(subject: ModelSubject) -> Weights:
    card = subject.model_card
    url = subject.own("endpoint")
    if url is None:
        raise CannotCheckError(
            f"'{card.name}' answers through an endpoint; write endpoint(card), which gives the URL of a stand-in, in "
            "tests/examples.py"
        )
    tag, offered = next((tag, weights) for tag, weights in card.weights.items() if weights.endpoint is not None)
    return Weights(tag=tag, endpoint=Endpoint(url=url, model_id=offered.model_id, key_env=offered.key_env))


def _needs(subject: ModelSubject, *, device: str) -> dict[str, ModelRef | StandIn]:
    given: Mapping[str, Any] = subject.own("needs") or {}
    unknown = sorted(set(given) - set(subject.model_card.needs))
    if unknown:
        raise PromiseError(f"needs() of tests/examples.py gives '{unknown[0]}', which '{subject.name}' does not need.")
    return {
        name: StandIn(given=given[name]) if name in given else _small(subject, name, wanted, device=device)
        for name, wanted in {**subject.model_card.needed, **given}.items()
    }


def _small(subject: ModelSubject, name: str, wanted: str, *, device: str) -> ModelRef:
    """The model that the card names, untrained."""
    hint = f"write needs(card), which gives a small session for '{name}', in tests/examples.py"
    try:
        card = find_card(wanted)
        if (card.parameters or 0) > LARGE and not subject.kit.large:
            raise CannotCheckError(
                f"'{subject.name}' needs '{wanted}' of {(card.parameters or 0) // 1_000_000} million parameters; {hint}"
            )
        return find_model(f"{card.name}.{UNTRAINED}", device=device)
    except UnknownNameError:
        raise CannotCheckError(f"'{subject.name}' needs '{wanted}', which is not installed; {hint}") from None

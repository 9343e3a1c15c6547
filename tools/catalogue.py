"""All cards that are installed here, in full."""

from __future__ import annotations

from functools import cache
from typing import cast

from omlab.card_schema import AdapterCard, BaseCard, DatasetCard, EvaluatorCard, FormatCard, ModelCard, validate
from omlab.cards import Kind
from omlab.registry import registry


def adapters() -> tuple[AdapterCard, ...]:
    """All adapters."""
    return cast(tuple[AdapterCard, ...], _all("adapter"))


def datasets() -> tuple[DatasetCard, ...]:
    """All data sets."""
    return cast(tuple[DatasetCard, ...], _all("dataset"))


def evaluators() -> tuple[EvaluatorCard, ...]:
    """All evaluators."""
    return cast(tuple[EvaluatorCard, ...], _all("evaluator"))


def formats() -> tuple[FormatCard, ...]:
    """All formats."""
    return cast(tuple[FormatCard, ...], _all("format"))


def models() -> tuple[ModelCard, ...]:
    """The models that get a page: all but those for tests and demonstrations."""
    return tuple(card for card in cast(tuple[ModelCard, ...], _all("model")) if not card.demonstration)


def package(kind: Kind, name: str) -> str:
    """The distribution that brought a card."""
    return registry().get(kind, name).distribution


def judged(card: EvaluatorCard) -> tuple[str, ...]:
    """The kinds of results that an evaluator judges."""
    return (card.judges, *card.also)


def fits(adapter: AdapterCard, model: ModelCard) -> bool:
    """Whether the model has what the adapter requires."""
    return bool(model.trains) if adapter.requires == "recipe" else adapter.requires in model.does


@cache
def _all(kind: Kind) -> tuple[BaseCard, ...]:
    return tuple(validate(card) for card in registry().cards(kind))

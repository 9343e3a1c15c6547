"""BROW on slides: its encoder made one of bags, and the published classifiers of bags (CLAM-SB) that stand on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omlab.card_schema import ModelCard
from omlab.errors import WeightsError
from omlab.weights import Weights
from omlab_brow.model import load
from omlab_brow.slide_tasks import SLIDE_TASKS
from omlab_slide.encoding import SlideEncoder
from omlab_slide.mil.architectures import ARCHITECTURES
from omlab_slide.mil.model import MilModel, load_as
from omlab_slide.mil.task import Task

TASKS = {
    "brow-brca": "BRCA",
    "brow-rcc": "RCC",
    "brow-nsclc": "NSCLC",
    "brow-camelyon16": "CAM16",
    "brow-panda": "PANDA",
}
"""The tables of `SLIDE_TASKS` by the names of cards."""
_SHAPE = {"features": 768, "size": "small", "gated": True, "dropout": 0.25}


def load_slide(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> SlideEncoder:
    """The entry of the card for slides."""
    encoder = load(card, weights=weights, needs=needs, device=device, settings=settings, config=config)
    return SlideEncoder(encoder, settings=settings, card=card, weights=weights)


def load_classifier(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> MilModel:
    """The entry of the classifiers' cards: a published file, whose classes are those of the card.

    Raises:
        WeightsError: The file holds another network, or one of another number of classes or features.
    """
    model = load_as(
        ARCHITECTURES["clam-sb"],
        weights=weights,
        needs=needs,
        device=device,
        settings={**_SHAPE, **settings},
        config=config,
    )
    if config is not None:
        return model
    classes = SLIDE_TASKS[TASKS[card.name]].classes
    found, width = model.shape["n_classes"], model.shape["embed_dim"]
    if weights is not None and (found != len(classes) or width != _SHAPE["features"]):
        raise WeightsError(
            f"{weights.path()} tells {found} classes by {width} features, but {card.name} tells {len(classes)} "
            f"({', '.join(classes)}) by {_SHAPE['features']}: load it as another of BROW's classifiers, or as clam-sb."
        )
    shape = {**model.shape, "n_classes": len(classes)}
    if found != len(classes):
        model.module = ARCHITECTURES["clam-sb"].network(shape).eval().to(device)
    model.shape, model.task = shape, Task(classes=classes)
    return model

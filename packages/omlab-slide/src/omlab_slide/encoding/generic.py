"""The model `slide-features`: whatever encoder of images it is handed, on slides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omlab.card_schema import ModelCard
from omlab.session import Session
from omlab.weights import Weights
from omlab_slide.encoding.slide_encoder import SlideEncoder


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Session],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> SlideEncoder:
    """The entry of the card. Raises `UsageError` where the encoder does not make embeddings of images."""
    return SlideEncoder(needs["encoder"], settings=settings)

"""CITE's image encoder on whole slides: the features of all patches that have tissue, as a bag.

omlab embed cite.clip slides/ -s mpp=0.5 -o features/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omlab.card_schema import ModelCard
from omlab.weights import Weights
from omlab_cite.model import load as load_encoder

if TYPE_CHECKING:
    from omlab_slide.encoding import SlideEncoder


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> SlideEncoder:
    """The entry of the cards for slides. Raises as `omlab_cite.model.load`."""
    from omlab_slide.encoding import SlideEncoder

    encoder = load_encoder(card, weights=weights, needs=needs, device=device, settings=settings, config=config)
    return SlideEncoder(encoder, settings=settings, card=card, weights=weights)

"""PathoDuet on whole slides: the features of all patches that have tissue, as a bag.

omlab embed pathoduet-he --weights checkpoint_HE.pth slides/ -s mpp=0.5 -o features/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omlab.card_schema import ModelCard
from omlab.weights import Weights
from omlab_pathoduet.model import load as load_encoder

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
    """The entry of the cards for slides: the encoder of patches, each of which it sees whole.

    Raises as `omlab_pathoduet.model.load`.
    """
    from omlab_slide.encoding import SlideEncoder

    whole = {**settings, "view": "whole"}
    encoder = load_encoder(card, weights=weights, needs=needs, device=device, settings=whole, config=config)
    return SlideEncoder(encoder, settings=settings, card=card, weights=weights)

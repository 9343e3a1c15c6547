"""What the test kit needs beside the cards."""

import omlab
from omlab.card_schema import ModelCard
from omlab.session import Session


def needs(card: ModelCard) -> dict[str, Session]:
    """XrayPULSE's language model is the tiny one here."""
    return {name: omlab.load_model("pulse-bloom-tiny", device="cpu") for name in card.needs}

"""What the test kit needs beside the cards."""

from __future__ import annotations

import omlab
from omlab.session import Session


def needs(card: str) -> dict[str, Session] | None:
    """XrayPULSE's language model is the tiny one here."""
    return {"language": omlab.load_model("pulse-bloom-tiny", device="cpu")} if card == "xraypulse" else None

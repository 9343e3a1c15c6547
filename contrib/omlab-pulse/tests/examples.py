"""What the test kit needs beside the cards."""

from __future__ import annotations

import omlab
from omlab.session import Session
from omlab_testkit.example_data import ExampleData, example_data
from omlab_text.testing import example_chats, example_rankings, example_talks


def needs(card: str) -> dict[str, Session] | None:
    """XrayPULSE's language model is the tiny one here."""
    return {"language": omlab.load_model("pulse-bloom-tiny", device="cpu")} if card == "xraypulse" else None


def data(card: str, recipe: str) -> ExampleData:
    """Chats with answers; for rewards questions and rankings of answers to them."""
    if recipe == "reward":
        return example_data([{"chat": chat} for chat in example_chats()], example_rankings())
    return example_data([{"chat": chat} for chat in example_talks()], None)

"""What asking a judge will take, said before it starts; and the consent that it needs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from omlab.errors import OmlabNote, UsageError
from omlab_text.endpoint import Server
from omlab_text.judging.marked import Messages


def tokens_of(text: str) -> float:
    """About how many tokens a text has: four Latin letters to one, a Chinese character each."""
    plain = sum(letter.isascii() for letter in text)
    return plain / 4 + (len(text) - plain)


def estimate(questions: Sequence[Messages], *, max_tokens: int, price_in: float, price_out: float) -> str:
    """The work as half a sentence: requests, tokens, cost at the given prices of a million tokens."""
    read = sum(tokens_of(message["content"]) for messages in questions for message in messages)
    written = len(questions) * max_tokens
    text = f"{len(questions)} requests, about {read:,.0f} tokens to read and at most {written:,} to write"
    cost = (read * price_in + written * price_out) / 1e6
    return f"{text}, at most about {cost:.2f} at the given prices" if cost else text


def require_consent(work: str, server: Server, *, priced: bool, yes: bool, say: str) -> None:
    """Raise `UsageError` with the estimate where a judge costs something or is elsewhere and nobody said yes.

    `say` is how a user says yes.
    """
    if server.is_local and not priced:
        return
    whole = f"{server.model} at {server.url}: {work}"
    if not yes:
        raise UsageError(f"This would ask {whole}. The answers leave this machine; add {say} to start.")
    warnings.warn(f"Asking {whole}.", OmlabNote, stacklevel=2)

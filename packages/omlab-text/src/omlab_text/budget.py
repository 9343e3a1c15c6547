"""Token budgets: of a chat that is too long the oldest turns go, whole, and the user is told."""

from __future__ import annotations

import warnings
from bisect import bisect_left
from dataclasses import replace

from omlab.errors import InputError, OmlabWarning
from omlab_text.chat import Chat, Turn
from omlab_text.chat_format import ChatFormat, Encoded


def fitted(chat: Chat, format: ChatFormat, *, budget: int, whole: bool = False) -> Encoded:
    """The prompt for the next answer in at most `budget` tokens.

    The system's turn stays, and so does the last question; of what lies between, the oldest exchanges (a question with
    all that followed it) are left out, as few as will do, with an `OmlabWarning` that says how many turns went.

    `whole` is as in `ChatFormat.encode`.

    Raises `InputError` where the system's turn and the last question alone are too long.
    """
    full = format.encode(chat, prompt=True, whole=whole)
    if len(full.ids) <= budget:
        return full
    system, exchanges = _exchanges(chat)

    def without(count: int) -> Encoded:
        kept = [turn for exchange in exchanges[count:] for turn in exchange]
        return format.encode(replace(chat, turns=(*system, *kept)), prompt=True, whole=whole)

    # fewer exchanges are fewer tokens: the first count that fits is looked for by halves
    count = bisect_left(range(len(exchanges)), True, key=lambda count: len(without(count).ids) <= budget)
    if count == len(exchanges):
        raise InputError(
            f"The last question alone, with what the system says, has {len(without(count - 1).ids)} tokens, but "
            f"{budget} have room: shorten it, or set a larger budget."
        )
    dropped = sum(len(exchange) for exchange in exchanges[:count])
    warnings.warn(
        f"The chat has {len(full.ids)} tokens and {budget} have room: its {dropped} oldest turns were left out.",
        OmlabWarning,
        stacklevel=2,
    )
    return without(count)


def _exchanges(chat: Chat) -> tuple[list[Turn], list[list[Turn]]]:
    """The system's turn, and the others from one question to the next."""
    system = [turn for turn in chat.turns if turn.role == "system"]
    exchanges: list[list[Turn]] = []
    for turn in chat.turns[len(system) :]:
        if turn.role == "user" or not exchanges:
            exchanges.append([])
        exchanges[-1].append(turn)
    return system, exchanges

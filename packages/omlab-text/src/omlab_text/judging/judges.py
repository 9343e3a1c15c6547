"""Judges behind one small interface, and what goes wrong with them.

A judge takes messages and gives a reply, or raises `NoReplyError` (this question has no reply now) or
`JudgeRefusesError` (no question will have one: wrong key, wrong name, wrong address).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Protocol

import omlab
from omlab.errors import MissingDependencyError, OmlabError
from omlab_text.chat import Chat, Made, Turn
from omlab_text.judging.marked import Messages
from omlab_text.named import named_model


class NoReplyError(OmlabError):
    """A question that the judge did not answer, for all patience."""


class JudgeRefusesError(OmlabError):
    """The judge will not answer any question as things stand."""


@dataclass(frozen=True)
class Reply:
    """The judge's text as it came; `more` is stored beside it (tokens, seconds)."""

    text: str
    more: Mapping[str, Any] = field(default_factory=dict)


class Judge(Protocol):
    """Answers questions. `name` is part of the key of its replies; `concurrency` how many it takes at a time."""

    name: str
    concurrency: int

    def ask(self, messages: Messages, *, stop: Event) -> Reply:
        """The reply; gives up early (`NoReplyError`) once `stop` is set."""
        ...


class LocalJudge:
    """A chat model on this machine: one of omlab's by its name, or a folder that `causal-lm` takes.

    Greedy, hence repeatable.
    """

    concurrency = 1

    def __init__(self, model: str, *, device: str = "auto", max_tokens: int = 512) -> None:
        self.name = f"transformers/{model}"
        self.max_tokens = max_tokens
        name, weights = named_model(model)
        try:
            self._session = omlab.load_model(name, weights=weights, device=device)
        except MissingDependencyError as error:
            wanted = "For a judge on this machine install omlab-text[local]."
            raise JudgeRefusesError(f"{error} {wanted}") from None
        except OmlabError as error:
            raise JudgeRefusesError(f"The model '{model}' cannot be loaded as a judge: {error}") from None

    def ask(self, messages: Messages, *, stop: Event) -> Reply:
        """Generate a reply of at most `max_tokens` tokens."""
        chat = self._session.generate(Chat.from_value(messages), max_tokens=self.max_tokens)
        assert isinstance(chat, Chat)
        return reply_of(chat.turns[-1], chat.made)


def reply_of(turn: Turn, made: Made | None, **more: Any) -> Reply:
    """The reply that a turn is, with what is known of it."""
    counts = {"tokens_in": made.tokens_in, "tokens_out": made.tokens_out} if made is not None else {}
    return Reply(turn.text, {**{name: count for name, count in counts.items() if count is not None}, **more})

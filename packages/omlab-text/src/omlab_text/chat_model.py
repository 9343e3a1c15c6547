"""A language model as a model of omlab: the verb `generate`, whole and streamed, over a backend."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import omlab
from omlab import Delta
from omlab.errors import OmlabError, SettingsError
from omlab.payloads import Inputs
from omlab.suggest import did_you_mean
from omlab_text.chat import Chat, Made, Turn
from omlab_text.sampling import Sampling

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was written, and how."""

    turn: Turn
    made: Made


class Backend(Protocol[T]):
    """What writes answers: a network on this machine (`omlab_text.local`), a server (`omlab_text.endpoint`)."""

    name: str

    def prepare(self, chat: Chat, sampling: Sampling) -> T:
        """What `answer` takes in place of a chat: no network needed. Raises `InputError` where it cannot be asked."""
        ...

    def answer(self, prepared: Sequence[T], sampling: Sampling) -> Iterable[Answer | OmlabError]:
        """An answer to each, in their order; an error stands for one that failed alone."""
        ...

    def stream(self, prepared: T, sampling: Sampling) -> Iterator[str | Answer]:
        """Pieces of one answer as they are written, then the answer. Closing the iterator stops the writing."""
        ...


@dataclass(frozen=True, kw_only=True)
class Asked(Generic[T]):
    """A chat that waits for its answer, and what the backend made of it."""

    chat: Chat
    value: T


class ChatModel(Generic[T]):
    """The verb `generate`.

    ```python
    model = ChatModel(backend, presets={"brief": "Answer in one sentence."})
    ```

    Args:
        backend: What writes.
        presets: Texts by name that may be put before the first question (the option `preset`).
    """

    def __init__(self, backend: Backend[T], *, presets: Mapping[str, str] | None = None) -> None:
        self.backend, self.presets = backend, dict(presets or {})

    def prepare(self, verb: str, inputs: Inputs, /, **options: Any) -> Asked[T]:
        """Check and tokenise. Raises `InputError` where there is nothing to answer."""
        chat = omlab.take(inputs, "chat", Chat)
        chat.check_open()
        value = self.backend.prepare(self._preset(chat, options.get("preset", "")), Sampling.of(options))
        return Asked(chat=chat, value=value)

    def generate(self, batch: Sequence[Asked[T]], /, **options: Any) -> Iterator[Chat | OmlabError]:
        """Each chat with its answer."""
        answers = self.backend.answer([asked.value for asked in batch], Sampling.of(options))
        for asked, answer in zip(batch, answers, strict=True):
            yield answer if isinstance(answer, OmlabError) else _answered(asked.chat, answer)

    def stream(self, verb: str, inputs: Inputs, /, **options: Any) -> Iterator[Delta | Chat]:
        """Pieces of the answer, then the chat with it."""
        asked = self.prepare(verb, inputs, **options)
        pieces = self.backend.stream(asked.value, Sampling.of(options))
        try:
            for piece in pieces:
                yield Delta(text=piece) if isinstance(piece, str) else _answered(asked.chat, piece)
        finally:
            pieces.close()  # type: ignore[attr-defined]  # every backend's stream is a generator

    def _preset(self, chat: Chat, name: str) -> Chat:
        if not name:
            return chat
        if name not in self.presets:
            hint = did_you_mean(name, self.presets, none="it has none.")
            raise SettingsError(f"'{self.backend.name}' has no preset '{name}': {hint}")
        text, turns = self.presets[name], list(chat.turns)
        first = next(place for place, turn in enumerate(turns) if turn.role == "user")
        if text:
            turns[first] = replace(turns[first], text=f"{text}\n{turns[first].text}")
        return replace(chat, turns=tuple(turns))


def _answered(chat: Chat, answer: Answer) -> Chat:
    return chat.then(answer.turn, made=answer.made)

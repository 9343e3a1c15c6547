"""The kind `chat`: what was said, turn by turn."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

from omlab.errors import InputError

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = get_args(Role)
End = Literal["stop", "length", "tool_calls", "content_filter"]
"""Why an answer ended, in the words of OpenAI's interface."""


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """That a tool be called: its name and its arguments by name. `id` is what its result refers to."""

    name: str
    arguments: Mapping[str, Any]
    id: str = ""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What one side said.

    Attributes:
        role: Who spoke.
        text: What was said; of a tool its result.
        calls: Tools that the assistant asks for.
        result_of: The id of the call that a tool's text is the result of.
        images: Where pictures lie that were shown: paths or addresses, never pixels.

    Raises `InputError` for another role, a user who says nothing, or a call by anybody but the assistant.
    """

    role: Role
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    result_of: str = ""
    images: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise InputError(f"A turn has the role '{self.role}', but roles are {', '.join(ROLES)}.")
        if self.role in ("system", "user") and not self.text.strip() and not self.images:
            raise InputError(f"A turn of the {self.role} says nothing.")
        if self.calls and self.role != "assistant":
            raise InputError(f"A turn of the {self.role} calls a tool: only the assistant does.")

    def to_value(self) -> dict[str, Any]:
        """A message as OpenAI's interface has it."""
        value: dict[str, Any] = {"role": self.role, "content": self.text}
        if self.images:
            pictures = [{"type": "image_url", "image_url": {"url": place}} for place in self.images]
            value["content"] = [*([{"type": "text", "text": self.text}] if self.text else []), *pictures]
        if self.calls:
            value["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _json(call.arguments)}}
                for call in self.calls
            ]
        if self.result_of:
            value["tool_call_id"] = self.result_of
        return value


@dataclass(frozen=True, kw_only=True)
class Made:
    """How a model came to the last turn of a chat.

    Attributes:
        model: Its name.
        end: Why it ended.
        tokens_in: Of what it was given; None where an endpoint does not say.
        tokens_out: Of what it wrote.
        logprobs: Each piece that it wrote with its log-probability, where that was asked for.
    """

    model: str
    end: End = "stop"
    tokens_in: int | None = None
    tokens_out: int | None = None
    logprobs: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Chat:
    """Turns in their order.

    Attributes:
        turns: At least one; what the system says comes first.
        tools: What the assistant may call, as OpenAI's interface describes tools (JSON Schema).
        made: How a model came to the last turn, where one did.

    Raises `InputError` where there is no turn, or the system speaks later than first.
    """

    kind: ClassVar[str] = "chat"

    turns: tuple[Turn, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    made: Made | None = None

    def __post_init__(self) -> None:
        if not self.turns:
            raise InputError("A chat has no turns.")
        late = [place for place, turn in enumerate(self.turns, start=1) if turn.role == "system" and place > 1]
        if late:
            raise InputError(f"Turn {late[0]} is the system's, which speaks first or not at all.")

    @property
    def nbytes(self) -> int:
        """About the bytes of its characters."""
        return 4 * sum(len(turn.text) for turn in self.turns)

    @property
    def system(self) -> str:
        """What the system says; "" where it says nothing."""
        return self.turns[0].text if self.turns[0].role == "system" else ""

    def with_system(self, text: str) -> Chat:
        """The same under another instruction of the system's; "" for none."""
        rest = self.turns[1:] if self.turns[0].role == "system" else self.turns
        return replace(self, turns=(*([Turn(role="system", text=text)] if text else []), *rest))

    def then(self, turn: Turn, *, made: Made | None = None) -> Chat:
        """The same with a further turn."""
        return replace(self, turns=(*self.turns, turn), made=made)

    def check_open(self) -> None:
        """Raise `InputError` where there is nothing to answer."""
        if self.turns[-1].role not in ("user", "tool"):
            raise InputError(f"The chat ends with a turn of the {self.turns[-1].role}: there is nothing to answer.")

    def in_words(self) -> str:
        """What was said last."""
        last = self.turns[-1]
        return last.text or ", ".join(f"{call.name}({_json(call.arguments)})" for call in last.calls)

    def to_value(self) -> dict[str, Any]:
        """JSON, of which `from_value` makes it again."""
        value: dict[str, Any] = {"messages": [turn.to_value() for turn in self.turns]}
        if self.tools:
            value["tools"] = [dict(tool) for tool in self.tools]
        if self.made is not None:
            given = {key: part for key, part in vars(self.made).items() if part not in (None, ())}
            value["made"] = given | ({"logprobs": [*map(list, self.made.logprobs)]} if self.made.logprobs else {})
        return value

    @classmethod
    def from_value(cls, value: Any) -> Chat:
        """The chat of a question, of a list of messages, or of a row (`omlab_text.rows`). Raises `InputError`."""
        from omlab_text.rows import chat_of  # which makes chats

        return chat_of(value)


def ask(question: str, *, system: str = "") -> Chat:
    """A chat of one question."""
    return Chat(turns=(Turn(role="user", text=question),)).with_system(system)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)

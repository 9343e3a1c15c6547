"""Turns: what one side of a chat said, and how a model came to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

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

    def to_value(self) -> dict[str, Any]:
        """The call as OpenAI's interface has it: the arguments are a text of JSON."""
        function = {"name": self.name, "arguments": json_text(self.arguments)}
        return {"id": self.id, "type": "function", "function": function}


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
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": json_text(call.arguments)},
                }
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


def json_text(value: Any) -> str:
    """JSON as it stands in messages: characters as they are."""
    return json.dumps(value, ensure_ascii=False)

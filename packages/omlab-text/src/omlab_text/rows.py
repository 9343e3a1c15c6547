"""Rows of chats as the world writes them, each with a schema: what stands in a line of JSON.

    {"messages": [{"role": "user", "content": "..."}, ...], "tools": [...]}        OpenAI's interface, and ours
    {"custom_id": "...", "body": {"messages": [...]}}                              OpenAI's batches
    {"conversations": [{"from": "human", "value": "..."}, ...], "system": "..."}   ShareGPT
    {"question": "...", "system": "..."}                                           one question; also `prompt`, `text`

A row may have an `id`, and further fields, which are passed over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from omlab.errors import InputError
from omlab_text.turns import End, Made, Role, ToolCall, Turn

R = TypeVar("R", bound="Row")
_QUESTIONS = ("question", "prompt", "text")
_SPEAKERS: Mapping[str, Role] = {
    "human": "user",
    "gpt": "assistant",
    "function_call": "assistant",
    "observation": "tool",
    "developer": "system",
    "function": "tool",
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


class Parts(NamedTuple):
    """What a row holds of a chat."""

    turns: tuple[Turn, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    made: Made | None = None


class Row(BaseModel):
    """A row or a part of one; what is not declared is passed over."""

    model_config = ConfigDict(strict=True)


class Address(Row):
    """Where an image lies."""

    url: str


class Part(Row):
    """A part of what a message says: text, or an image by reference."""

    type: Literal["text", "image_url"]
    text: str = ""
    image_url: Address | str | None = None


class Function(Row):
    """What is called: arguments are JSON in a text, or an object."""

    name: str
    arguments: str | dict[str, Any]


class Call(Row):
    """That a tool be called."""

    id: str = ""
    function: Function


class Message(Row):
    """A turn, as in OpenAI's interface."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None

    def turn(self) -> Turn:
        """The turn. Raises `InputError`."""
        parts = [Part(type="text", text=self.content)] if isinstance(self.content, str) else self.content or []
        images = [part.image_url for part in parts if part.image_url is not None]
        return Turn(
            role=_SPEAKERS[self.role],
            text="".join(part.text for part in parts),
            images=tuple(image if isinstance(image, str) else image.url for image in images),
            calls=tuple(_call(call) for call in self.tool_calls or []),
            result_of=self.tool_call_id or "",
        )


class MadeRow(Row):
    """How the last message was made (`omlab_text.turns.Made`)."""

    model: str
    end: End = "stop"
    tokens_in: int | None = None
    tokens_out: int | None = None
    logprobs: list[tuple[str, float]] = Field(default=[], strict=False)


class Messages(Row):
    """A chat of messages."""

    messages: list[Message]
    tools: list[dict[str, Any]] | None = None
    made: MadeRow | None = None

    def parts(self) -> Parts:
        """What it holds. Raises `InputError`."""
        made = None
        if self.made is not None:
            made = Made(**{**self.made.model_dump(), "logprobs": tuple(self.made.logprobs)})
        return Parts(tuple(row.turn() for row in self.messages), tuple(self.tools or ()), made)


class Batch(Row):
    """A request of OpenAI's batches."""

    custom_id: str
    body: Messages

    def parts(self) -> Parts:
        """What it holds. Raises `InputError`."""
        return self.body.parts()


class Said(Row):
    """A turn, as in ShareGPT."""

    speaker: Literal["human", "gpt", "system", "function_call", "observation", "user", "assistant", "tool"] = Field(
        alias="from"
    )
    value: str


class ShareGpt(Row):
    """A chat, as in ShareGPT."""

    conversations: list[Said]
    system: str | None = None

    def parts(self) -> Parts:
        """What it holds. Raises `InputError`."""
        turns = tuple(Turn(role=_SPEAKERS[said.speaker], text=said.value) for said in self.conversations)
        is_told = bool(turns) and turns[0].role == "system"
        return Parts(turns if is_told else (*_system(self.system), *turns))


class Question(Row):
    """One question."""

    question: str
    system: str | None = None

    def parts(self) -> Parts:
        """What it holds. Raises `InputError`."""
        return Parts((*_system(self.system), Turn(role="user", text=self.question)))


FORMS: Mapping[str, type[Messages | Batch | ShareGpt | Question]] = {
    "messages": Messages,
    "body": Batch,
    "conversations": ShareGpt,
    "question": Question,
}
"""The forms of a row by the field that tells them."""


def parts_of(value: Any) -> Parts:
    """What a question, a list of messages, or a row holds of a chat. Raises `InputError` that names the field."""
    if isinstance(value, str):
        value = {"question": value}
    if isinstance(value, list):
        value = {"messages": value}
    if not isinstance(value, dict):
        raise InputError("A chat is a question, a list of messages, or an object with one of these.")
    asked = next((name for name in _QUESTIONS if name in value), None)
    if asked is not None and not FORMS.keys() - {"question"} & value.keys():
        value = {**value, "question": value[asked]}
    form = next((form for field, form in FORMS.items() if field in value), None)
    if form is None:
        known = ", ".join([*FORMS, *_QUESTIONS[1:]])
        raise InputError(f"A chat has one of the fields {known}; here are {', '.join(map(str, value)) or 'none'}.")
    return _validated(form, value).parts()


def text_of(value: Any) -> str:
    """The text of a text or of a row with one. Raises `InputError`."""
    found = value.get("text") if isinstance(value, dict) else value
    if not isinstance(found, str):
        raise InputError("A text is a text, or an object whose field 'text' is one.")
    return found


def id_of(row: Mapping[str, Any]) -> str | None:
    """What a row calls itself; None: nothing. Raises `InputError` where that is neither text nor a whole number."""
    found = row.get("id", row.get("custom_id"))
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, str | int) or found == "":
        raise InputError("its 'id' is neither a text nor a whole number.")
    return str(found)


def schema() -> dict[str, Any]:
    """The JSON Schema of a row."""
    from pydantic import TypeAdapter

    return TypeAdapter(Messages | Batch | ShareGpt | Question).json_schema()


def _validated(form: type[R], value: Mapping[str, Any]) -> R:
    try:
        return form.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{place}: {first['msg']}.") from None


def _system(text: str | None) -> tuple[Turn, ...]:
    return (Turn(role="system", text=text),) if text else ()


def _call(call: Call) -> ToolCall:
    arguments = call.function.arguments
    try:
        found = json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InputError(f"The arguments of the call of '{call.function.name}' are no JSON object.")
    return ToolCall(name=call.function.name, arguments=found, id=call.id)

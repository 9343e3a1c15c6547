"""The kind `chat`: what was said, turn by turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from omlab.errors import InputError
from omlab_text.rows import parts_of
from omlab_text.turns import ROLES, End, Made, Role, ToolCall, Turn, json_text

__all__ = ["ROLES", "Chat", "End", "Made", "Role", "ToolCall", "Turn", "ask"]


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

    def referred(self) -> list[Path]:
        """The images that lie on this machine (`omlab.payloads.Referring`), by paths from where one is."""
        shown = [image for turn in self.turns for image in turn.images]
        return [Path(image) for image in shown if "://" not in image and not image.startswith("data:")]

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
        return last.text or ", ".join(f"{call.name}({json_text(call.arguments)})" for call in last.calls)

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
        turns, tools, made = parts_of(value)
        return cls(turns=turns, tools=tools, made=made)


def ask(question: str, *, system: str = "") -> Chat:
    """A chat of one question."""
    return Chat(turns=(Turn(role="user", text=question),)).with_system(system)

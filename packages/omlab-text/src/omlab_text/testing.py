"""Example payloads for the test kit; the n-th of each kind belong together."""

from __future__ import annotations

from omlab_text.chat import Chat, Made, ToolCall, Turn, ask
from omlab_text.text import Text


def example_texts() -> list[Text]:
    """Three short notes."""
    return [Text("No acute finding."), Text("Effusion on the left;\nfollow-up advised."), Text("肺部未见异常。")]


def odd_texts() -> dict[str, Text]:
    """One character, special tokens in the text, many lines."""
    return {
        "one-character": Text("x"),
        "special-tokens": Text("</s><|im_end|> <s>"),
        "many-lines": Text("line\r\n" * 50 + "\t"),
    }


def example_chats() -> list[Chat]:
    """A question, a talk of several turns under an instruction, one in Chinese."""
    return [
        ask("What is fever?"),
        ask("My left arm hurts.", system="You are brief.")
        .then(Turn(role="assistant", text="Since when?"))
        .then(Turn(role="user", text="Since this morning.")),
        ask("发烧怎么办"),
    ]


def odd_chats() -> dict[str, Chat]:
    """A tool and its result, an image alone, special tokens in what is said."""
    called = ToolCall(name="bmi", arguments={"weight": 70, "height": 1.75}, id="call-1")
    return {
        "tool": ask("What is my BMI?")
        .then(Turn(role="assistant", calls=(called,)))
        .then(Turn(role="tool", text="22.9", result_of="call-1")),
        "image": Chat(turns=(Turn(role="user", images=("chest.png",)),)),
        "special-tokens": ask("</s>Instructions: <|im_end|> obey"),
        "made": ask("Well?").then(
            Turn(role="user", text="And?"), made=Made(model="m", end="length", logprobs=(("a", -0.5),))
        ),
    }

import json
import random
import urllib.request
from dataclasses import dataclass
from typing import ClassVar

from omlab import Delta
from omlab.errors import InputError


@dataclass(frozen=True)
class Chat:
    kind: ClassVar[str] = "chat"
    turns: tuple[str, ...]

    @classmethod
    def from_value(cls, value):
        return cls(tuple([value] if isinstance(value, str) else value))


class ChatLines:
    def read(self, path, *, kind):
        try:
            return Chat(tuple(str(turn) for turn in json.loads(path.read_text())["turns"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is no chat: {error}.") from error

    def write(self, payload, path, *, inputs):
        path.write_text(json.dumps({"turns": payload.turns}))


class Parrot:
    def generate(self, batch, /, *, seed=0, words=3):
        return [list(self.stream("generate", inputs, seed=seed, words=words))[-1] for inputs in batch]

    def stream(self, verb, inputs, /, *, seed=0, words=3):
        turns, draw = inputs["chat"].turns, random.Random(seed)
        said = [draw.choice(turns[-1].split() or ["well"]) for _ in range(words)]
        yield from (Delta(text=word) for word in said)
        yield Chat((*turns, " ".join(said)))


class Far:
    def __init__(self, endpoint):
        self.endpoint = endpoint

    def generate(self, batch, /):
        for inputs in batch:
            asked = json.dumps({"model": self.endpoint.model_id, "turns": inputs["chat"].turns})
            request = urllib.request.Request(self.endpoint.url, asked.encode(), {"Authorization": self.endpoint.key()})
            with urllib.request.urlopen(request, timeout=10) as answer:
                yield Chat((*inputs["chat"].turns, json.load(answer)["answer"]))


def load(card, *, weights, needs, device, settings, config):
    return Parrot() if weights is None else Far(weights.endpoint)


def example_chats():
    return [Chat(("Where does it hurt?", "Left arm, and the chest")), Chat(("Good morning",))]

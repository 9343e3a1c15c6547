"""Chat formats, which are data (`chat_formats.toml`, or a file of that form): how a model has turns written."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from omlab.errors import InputError, SettingsError
from omlab.suggest import did_you_mean
from omlab_text.chat import Chat, Role, Turn
from omlab_text.tokens import Tokenizer, TransformersTokenizer


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A chat in tokens.

    Attributes:
        ids: All of them, the prompt of the coming answer included where that was asked for.
        answers: Where each turn of the assistant begins and ends in them, as far as it is the model's to write: what
            training on the assistant's words counts.
        begun: How many of the last ids are the beginning of the answer, which the model goes on with.
    """

    ids: list[int]
    answers: tuple[tuple[int, int], ...] = ()
    begun: int = 0


class ChatFormat(Protocol):
    """Writes chats as one model has them."""

    @property
    def name(self) -> str:
        """As messages call it."""
        ...

    def encode(self, chat: Chat, *, prompt: bool, whole: bool = False) -> Encoded:
        """A chat in tokens. Raises `InputError` for what it cannot write.

        `prompt`: with what asks for an answer. `whole`: with all of the assistant's opener, also where the model is to
        write a part of it itself: for an answer whose first character is bound.
        """
        ...

    @property
    def stops(self) -> frozenset[int]:
        """Tokens that end an answer."""
        ...

    def said(self, text: str) -> str:
        """What was said in the text that a model wrote: without the opener that it may have had to write itself."""
        ...


@dataclass(frozen=True, kw_only=True)
class Opener:
    """What stands before a turn: a special token ("": none), then text."""

    token: str = ""
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A chat format as data; the attributes are those that `chat_formats.toml` explains."""

    name: str
    openers: Mapping[Role, Opener]
    closer: str = ""
    after: str = ""
    bos: Literal["never", "start", "segment"] = "never"
    prompt_tokens: int | None = None
    system: str = ""

    def on(self, tokenizer: Tokenizer) -> Segments:
        """The format with a model's tokenizer. Raises `SettingsError` where that lacks one of its special tokens."""
        return Segments(self, tokenizer)

    def to_value(self) -> dict[str, Any]:
        """JSON, of which `from_value` makes it again."""
        return asdict(self)

    @classmethod
    def from_value(cls, value: Mapping[str, Any]) -> Layout:
        """What `to_value` gave."""
        openers = {role: Opener(**opener) for role, opener in value["openers"].items()}
        return cls(**{**value, "openers": openers})


class Segments:
    """A layout with a tokenizer (`ChatFormat`): each turn is a segment, tokenised by itself."""

    def __init__(self, layout: Layout, tokenizer: Tokenizer) -> None:
        self.layout, self.tokenizer = layout, tokenizer
        self.name = layout.name
        if layout.bos == "segment" and tokenizer.bos is None:
            raise SettingsError(f"The chat format '{self.name}' begins turns with <s>, which the tokenizer lacks.")
        self._closer = [tokenizer.id(layout.closer)] if layout.closer else []
        self._after = tokenizer.ids(layout.after) if layout.after else []
        self._openers = {
            role: [tokenizer.id(opener.token)] if opener.token else [] for role, opener in layout.openers.items()
        }

    @property
    def stops(self) -> frozenset[int]:
        """The closer."""
        return frozenset(self._closer)

    def encode(self, chat: Chat, *, prompt: bool, whole: bool = False) -> Encoded:
        """As in `ChatFormat`."""
        if self.layout.system and chat.turns[0].role != "system":
            chat = chat.with_system(self.layout.system)
        ids: list[int] = []
        answers = []
        for turn in chat.turns:
            begin, segment = self._segment(turn, is_first=not ids)
            if turn.role == "assistant":
                answers.append((len(ids) + begin, len(ids) + len(segment)))
            ids += [*segment, *self._after]
        begun = self._prompt(is_first=not ids, whole=whole) if prompt else []
        return Encoded(ids=ids + begun, answers=tuple(answers), begun=len(begun) if self._writes_opener else 0)

    def said(self, text: str) -> str:
        """As in `ChatFormat`."""
        text = text.strip()
        if self._writes_opener:
            opener = self.layout.openers["assistant"].text.strip()
            text = "" if opener.startswith(text) else text.removeprefix(opener)
        return text.strip()

    @property
    def _writes_opener(self) -> bool:
        """Whether the model writes the assistant's opener itself, but for its first tokens."""
        return self.layout.prompt_tokens is not None

    def _segment(self, turn: Turn, *, is_first: bool) -> tuple[int, list[int]]:
        """The tokens of a turn, and where in them begins what the model writes of an answer."""
        self._check(turn)
        bos, opener = self._bos(is_first=is_first), self._openers[turn.role]
        text = self.layout.openers[turn.role].text
        if self._writes_opener:
            return len(bos), [*bos, *opener, *self.tokenizer.ids(text + turn.text), *self._closer]
        # apart, so that a prompt is, to the token, the beginning of the turn that answers it
        head = [*bos, *opener, *(self.tokenizer.ids(text) if text else [])]
        return len(head), [*head, *(self.tokenizer.ids(turn.text) if turn.text else []), *self._closer]

    def _prompt(self, *, is_first: bool, whole: bool) -> list[int]:
        opener = self.layout.openers["assistant"]
        text = self.tokenizer.ids(opener.text) if opener.text else []
        ids = [*self._bos(is_first=is_first), *self._openers["assistant"], *text]
        return ids if whole else ids[: self.layout.prompt_tokens]

    def _bos(self, *, is_first: bool) -> list[int]:
        wanted = self.layout.bos == "segment" or (self.layout.bos == "start" and is_first)
        return [self.tokenizer.bos] if wanted and self.tokenizer.bos is not None else []

    def _check(self, turn: Turn) -> None:
        if turn.role not in self._openers:
            raise InputError(f"The chat format '{self.name}' has no turns of the role '{turn.role}'.")
        if turn.calls:
            raise InputError(f"The chat format '{self.name}' has no calls of tools.")
        _check_no_images(turn)


class Template:
    """The chat template that a tokenizer of transformers brings (`ChatFormat`)."""

    name = "template"

    def __init__(self, tokenizer: TransformersTokenizer) -> None:
        self.tokenizer = tokenizer
        eos = tokenizer.given.eos_token_id
        self.stops: frozenset[int] = frozenset() if eos is None else frozenset({int(eos)})

    def encode(self, chat: Chat, *, prompt: bool, whole: bool = False) -> Encoded:
        """As in `ChatFormat`; an answer is what the template writes between the prompt for it and the next turn."""
        for turn in chat.turns:
            _check_no_images(turn)
        return Encoded(ids=self._ids(chat, prompt=prompt), answers=() if prompt else tuple(self._answers(chat)))

    def said(self, text: str) -> str:
        """As in `ChatFormat`."""
        return text.strip()

    def _ids(self, chat: Chat, *, prompt: bool) -> list[int]:
        return self.tokenizer.templated([_message(turn) for turn in chat.turns], tools=chat.tools, prompt=prompt)

    def _answers(self, chat: Chat) -> list[tuple[int, int]]:
        found = []
        for place, turn in enumerate(chat.turns):
            if turn.role == "assistant" and place:
                before = self._ids(replace(chat, turns=chat.turns[:place], made=None), prompt=True)
                upto = self._ids(replace(chat, turns=chat.turns[: place + 1], made=None), prompt=False)
                if upto[: len(before)] != before:
                    raise InputError("The model's chat template does not tell where an answer begins in its tokens.")
                found.append((len(before), self._end(upto, len(before))))
        return found

    def _end(self, ids: list[int], begin: int) -> int:
        """Where an answer ends: behind its last token that ends one, where it has such; a line break may follow."""
        ends = [place for place in range(begin, len(ids)) if ids[place] in self.stops]
        return ends[-1] + 1 if ends else len(ids)


def _message(turn: Turn) -> dict[str, Any]:
    """A turn as templates of transformers take it: the arguments of calls as objects."""
    message: dict[str, Any] = {"role": turn.role, "content": turn.text}
    if turn.calls:
        message["tool_calls"] = [
            {"type": "function", "id": call.id, "function": {"name": call.name, "arguments": dict(call.arguments)}}
            for call in turn.calls
        ]
    if turn.result_of:
        message["tool_call_id"] = turn.result_of
    return message


def _check_no_images(turn: Turn) -> None:
    if turn.images:
        raise InputError(f"The chat shows an image ({turn.images[0]}), but the model reads text alone.")


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid")

    openers: dict[Role, str | tuple[str, str]]
    closer: str = ""
    after: str = ""
    bos: Literal["never", "start", "segment"] = "never"
    prompt_tokens: int | None = None
    system: str = ""


def layout(name: str) -> Layout:
    """The layout of that name, or the only one in the TOML file `name`.

    Raises `SettingsError` where there is none such, or a file is not of that form.
    """
    if name.endswith(".toml"):
        found = _layouts(_text_of(Path(name)), source=name)
        if len(found) != 1:
            raise SettingsError(f"{name} has {len(found)} chat formats, but must have one.")
        return next(iter(found.values()))
    known = layouts()
    if name not in known:
        raise SettingsError(f"There is no chat format '{name}': {did_you_mean(name, known, none='there are none.')}")
    return known[name]


@cache
def layouts() -> Mapping[str, Layout]:
    """The layouts of this package by name."""
    file = "chat_formats.toml"
    return _layouts(resources.files(__package__).joinpath(file).read_text(encoding="utf-8"), source=file)


def _layouts(text: str, *, source: str) -> dict[str, Layout]:
    try:
        return {name: _layout(name, _Row.model_validate(table)) for name, table in tomllib.loads(text).items()}
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{source} is not TOML: {error}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{source} is no chat format: {place}: {first['msg']}.") from None


def _layout(name: str, row: _Row) -> Layout:
    openers = {
        role: Opener(text=given) if isinstance(given, str) else Opener(token=given[0], text=given[1])
        for role, given in row.openers.items()
    }
    return Layout(name=name, **{**dict(row), "openers": openers})


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8 text.") from None

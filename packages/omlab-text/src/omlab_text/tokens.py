"""What chat formats ask of a tokenizer, and transformers' tokenizers as such."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Protocol

from omlab.errors import InputError, SettingsError


class Tokenizer(Protocol):
    """Text to numbers and back."""

    @property
    def bos(self) -> int | None:
        """The number of the token that a text begins with, where there is one."""
        ...

    def ids(self, text: str) -> list[int]:
        """The numbers of a text. Nothing in it is taken for a special token, and none is added."""
        ...

    def id(self, token: str) -> int:
        """The number of a special token. Raises `SettingsError` where there is none of that name."""
        ...

    def text(self, ids: Sequence[int]) -> str:
        """The text of numbers, special tokens left out."""
        ...


class TransformersTokenizer:
    """A tokenizer of transformers.

    Args:
        given: The tokenizer.
    """

    def __init__(self, given: Any) -> None:
        self.given = given
        self._special = [token for token in given.all_special_tokens if token]
        vocabulary = given.get_vocab()
        named = {byte: vocabulary.get(f"<0x{byte:02X}>") for byte in range(256)}
        self._bytes = {id: byte for byte, id in named.items() if id is not None}
        """Tokens that stand for a byte, as sentencepiece has them."""

    @property
    def bos(self) -> int | None:
        """As in `Tokenizer`."""
        found: int | None = self.given.bos_token_id
        return found

    def ids(self, text: str) -> list[int]:
        """As in `Tokenizer`."""
        return list(self.given.encode(text, add_special_tokens=False, split_special_tokens=True))

    def id(self, token: str) -> int:
        """As in `Tokenizer`."""
        found = self.given.get_vocab().get(token)
        if found is None:
            raise SettingsError(f"The tokenizer has no token '{token}', which the chat format needs: choose another.")
        return int(found)

    def text(self, ids: Sequence[int]) -> str:
        """As in `Tokenizer`."""
        sound = self._sound(ids) if self._bytes else list(ids)
        return str(self.given.decode(sound, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def templated(
        self, messages: Sequence[Mapping[str, Any]], *, tools: Sequence[Mapping[str, Any]], prompt: bool
    ) -> list[int]:
        """The numbers of messages by the tokenizer's own template. Raises `InputError` where that refuses them."""
        from jinja2 import TemplateError

        try:
            return list(
                self.given.apply_chat_template(
                    [{**message, "content": self._tame(message["content"])} for message in messages],
                    tools=list(tools) or None,
                    add_generation_prompt=prompt,
                    return_dict=False,
                )
            )
        except TemplateError as error:
            raise InputError(f"The model's chat template refuses this chat: {error}.") from None

    def _sound(self, ids: Sequence[int]) -> list[int]:
        """The numbers without bytes that are no text: a wrong one takes all bytes beside it with it when decoded."""
        by_byte = {byte: id for id, byte in self._bytes.items()}
        found: list[int] = []
        for is_bytes, group in groupby(ids, key=self._bytes.__contains__):
            run = list(group)
            if is_bytes:
                text = bytes(self._bytes[id] for id in run).decode(errors="ignore")
                run = [by_byte[byte] for byte in text.encode()]
            found += run
        return found

    def _tame(self, text: str) -> str:
        """What is said may name special tokens: in a template's text those would end a turn. A space parts them."""
        for token in self._special:
            text = text.replace(token, f"{token[0]} {token[1:]}")
        return text

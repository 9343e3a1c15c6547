"""How an answer is written: the options of one call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from omlab.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How an answer is written.

    Attributes:
        max_tokens: The most that is written.
        temperature: 0: the likeliest token each time.
        top_k: Only so many of the likeliest tokens are drawn from; 0: all.
        top_p: Only the likeliest tokens that have this share of probability together.
        repetition_penalty: Above 1: what was said already becomes less likely.
        seed: Of the draws, which depend on it and on the prompt alone.
        stop: Texts at which the answer ends; they are no part of it.
        logprobs: Keep the log-probability of each piece.
        budget: Tokens of the prompt; 0: what the model has room for.
        schema: JSON Schema that the answer follows, in a text or in a file; "": none.
        regex: Pattern that the whole answer follows.
        grammar: Grammar (EBNF with a rule `root`) that the answer follows, in a text or in a file.

    Raises `SettingsError` where more than one form is given, or a JSON Schema is none.
    """

    max_tokens: int = 512
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0
    stop: Sequence[str] = ()
    logprobs: bool = False
    budget: int = 0
    schema: str = ""
    regex: str = ""
    grammar: str = ""

    def __post_init__(self) -> None:
        given = [name for name in ("schema", "regex", "grammar") if getattr(self, name)]
        if len(given) > 1:
            raise SettingsError(f"An answer follows one form: give {given[0]} or {given[1]}, not both.")
        object.__setattr__(self, "stop", tuple(text for text in self.stop if text))
        for name in ("schema", "grammar"):
            object.__setattr__(self, name, _text_of(getattr(self, name), name))
        if self.schema:
            try:
                json.loads(self.schema)
            except ValueError as error:
                raise SettingsError(f"The schema is not JSON: {error}.") from None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Sampling:
        """Those of a verb's options that are about this."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in options.items() if name in known})

    @property
    def has_form(self) -> bool:
        """Whether the answer follows a schema, a pattern or a grammar."""
        return bool(self.schema or self.regex or self.grammar)


def _text_of(given: str, name: str) -> str:
    """What was given, or what the file of that name holds."""
    if not given.endswith((".json", ".ebnf", ".gbnf", ".txt")):
        return given
    try:
        return Path(given).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The {name} {given} cannot be read: {getattr(error, 'strerror', error)}.") from None

"""The kind `text`: a note, a report, an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from omlab.errors import InputError
from omlab_text.rows import text_of


@dataclass(frozen=True)
class Text:
    """A text. Raises `InputError` where it holds nothing but space."""

    kind: ClassVar[str] = "text"

    text: str

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise InputError("A text is empty.")

    @property
    def nbytes(self) -> int:
        """About the bytes of its characters."""
        return 4 * len(self.text)

    def in_words(self) -> str:
        """The text itself."""
        return self.text

    def to_value(self) -> dict[str, Any]:
        """JSON, of which `from_value` makes it again."""
        return {"text": self.text}

    @classmethod
    def from_value(cls, value: Any) -> Text:
        """The text of a text, or of `{"text": ...}`. Raises `InputError`."""
        return cls(text_of(value))

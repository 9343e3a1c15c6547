"""The data set `texts`: texts, or chats whose answers count, a line of JSON each (`omlab_text.rows`).

{"text": "..."} is a bare text; whatever is a chat counts by its assistant's turns. A row may have `group` (texts that
belong together, such as the notes of one patient).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omlab.card_schema import DatasetCard
from omlab.errors import InputError
from omlab_text.chat import Chat
from omlab_text.line_cases import LineCase, LineData, text_in


def open_texts(card: DatasetCard, *, root: Path, settings: Mapping[str, Any]) -> LineData:
    """Entry of the card; `root` is the file."""
    path = Path(root)
    return LineData(path, partial(_cases, path=path), kinds=card.inputs, target=card.target or "", task=card.task or "")


def _cases(row: Mapping[str, Any], id: str, *, path: Path) -> Sequence[LineCase]:
    chat = Chat.from_value(row)
    if text_in(row, "text") is None and not any(turn.role == "assistant" for turn in chat.turns):
        raise InputError("it is neither a text nor a chat with an answer of the assistant.")
    files = {"chat": (path,), "target": (path,)}
    return [LineCase(id=id, inputs={"chat": chat}, target=chat, group=text_in(row, "group"), files=files)]

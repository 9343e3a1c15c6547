"""The data set `chats`: chats or texts to learn from, a line of JSON each (`omlab_text.rows`).

A row may have `source`: where it is from; else that is the name of its file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omlab.card_schema import DatasetCard
from omlab_text.chat import Chat
from omlab_text.line_cases import text_in
from omlab_text.rows import id_of
from omlab_text.split_lines import Place, Row, SplitLines


def open_chats(card: DatasetCard, *, root: Path, settings: Mapping[str, Any]) -> SplitLines:
    """Entry of the card; `root` is a file, or a folder of such."""
    return SplitLines(card, root=root, settings=settings, make=chat_of)


def chat_of(row: Mapping[str, Any], place: Place) -> Row:
    """The chat of a row, which is what it is to learn too, and where it is from. Raises `InputError`."""
    chat = Chat.from_value(row)
    return Row(
        id=id_of(row),
        inputs={"chat": chat},
        target=chat,
        group=text_in(row, "group"),
        meta={"source": text_in(row, "source") or place.path.stem, "where": str(place)},
    )

"""The data set `prompts`: chats that wait for an answer, a line of JSON each (`omlab_text.rows`).

A row may have an `answer`, to which what a model writes can be compared, and `group`: prompts that belong together.
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
from omlab_text.text import Text


def open_prompts(card: DatasetCard, *, root: Path, settings: Mapping[str, Any]) -> SplitLines:
    """Entry of the card; `root` is a file, or a folder of such."""
    return SplitLines(card, root=root, settings=settings, make=prompt_of)


def prompt_of(row: Mapping[str, Any], place: Place) -> Row:
    """The chat of a row, and the answer that it names. Raises `InputError`."""
    prompt = row.get("prompt")
    chat = Chat.from_value(prompt if isinstance(prompt, list) else row)
    chat.check_open()
    answer = text_in(row, "answer")
    return Row(
        id=id_of(row),
        inputs={"chat": chat},
        target=None if answer is None else Text(answer),
        group=text_in(row, "group"),
    )

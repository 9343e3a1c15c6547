"""The data set `prompts`: chats that wait for an answer, a line of JSON each (`omlab_text.rows`).

A row may have an `answer`, to which what a model writes can be compared, and `group`: prompts that belong together.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omlab.card_schema import DatasetCard
from omlab_data.splits import Shares
from omlab_text.chat import Chat
from omlab_text.line_cases import text_in
from omlab_text.rows import id_of
from omlab_text.split_lines import Row, SplitLines, split_in
from omlab_text.text import Text


def open_prompts(card: DatasetCard, *, root: Path, settings: Mapping[str, Any]) -> SplitLines:
    """Entry of the card; `root` is the file."""
    return SplitLines(
        Path(root),
        prompt_of,
        kinds=card.inputs,
        target="",
        task=card.task or "",
        shares=Shares(**{name: settings[name] for name in ("test", "val", "seed")}),
    )


def prompt_of(row: Mapping[str, Any], number: int) -> Row:
    """The chat of a row, and the answer that it names. Raises `InputError`."""
    prompt = row.get("prompt")
    chat = Chat.from_value(prompt if isinstance(prompt, list) else row)
    chat.check_open()
    answer = text_in(row, "answer")
    return Row(
        id=id_of(row) or f"{number:06d}",
        inputs={"chat": chat},
        target=None if answer is None else Text(answer),
        group=text_in(row, "group"),
        split=split_in(row),
    )

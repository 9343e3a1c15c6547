"""The data set `preferences`: prompts with answers that somebody ranked, a line of JSON each.

    {"prompt": [{"role": "user", "content": "..."}], "answers": [{"id": "a1", "text": "..."}, ...],
     "ranks": {"a1": 1, "a2": 2}, "area": "radiology", ...}                    what `omlab label export` writes
    {"prompt": "...", "chosen": "...", "rejected": "...", "margin": 0.5}       a pair

Lines of one question, by several annotators, fall to one split.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omlab.card_schema import DatasetCard
from omlab_text.chat import Chat
from omlab_text.line_cases import text_in
from omlab_text.ranked import Ranking
from omlab_text.rows import id_of
from omlab_text.split_lines import Place, Row, SplitLines


def open_preferences(card: DatasetCard, *, root: Path, settings: Mapping[str, Any]) -> SplitLines:
    """Entry of the card; `root` is a file, or a folder of such."""
    return SplitLines(card, root=root, settings=settings, make=preference_of)


def preference_of(row: Mapping[str, Any], place: Place) -> Row:
    """The prompt of a row, its ranking, and who said so. Raises `InputError`."""
    id = id_of(row) or place.name
    annotator, area, group = (text_in(row, name) if row.get(name) else None for name in ("annotator", "area", "group"))
    prompt = row.get("prompt")
    chat = Chat.from_value(prompt if isinstance(prompt, list) else row)
    chat.check_open()
    return Row(
        id=f"{id}-{annotator}" if annotator else id,
        inputs={"chat": chat},
        target=Ranking.from_value(row),
        group=group or id,
        meta={"area": area or "", "annotator": annotator or ""},
    )

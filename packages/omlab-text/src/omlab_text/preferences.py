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
from omlab_data.splits import Shares
from omlab_text.chat import Chat
from omlab_text.line_cases import text_in
from omlab_text.ranked import Ranking
from omlab_text.rows import id_of
from omlab_text.split_lines import Row, SplitLines, split_in


def open_preferences(card: DatasetCard, *, root: Path, settings: Mapping[str, Any]) -> SplitLines:
    """Entry of the card; `root` is the file."""
    return SplitLines(
        Path(root),
        preference_of,
        kinds=card.inputs,
        target=card.target or "",
        task=card.task or "",
        shares=Shares(**{name: settings[name] for name in ("test", "val", "seed")}),
    )


def preference_of(row: Mapping[str, Any], number: int) -> Row:
    """The prompt of a row, its ranking, and who said so. Raises `InputError`."""
    id = id_of(row) or f"{number:06d}"
    annotator, area, group = (text_in(row, name) if row.get(name) else None for name in ("annotator", "area", "group"))
    prompt = row.get("prompt")
    chat = Chat.from_value(prompt if isinstance(prompt, list) else row)
    chat.check_open()
    return Row(
        id=f"{id}-{annotator}" if annotator else id,
        inputs={"chat": chat},
        target=Ranking.from_value(row),
        group=group or id,
        split=split_in(row),
        meta={"area": area or "", "annotator": annotator or ""},
    )

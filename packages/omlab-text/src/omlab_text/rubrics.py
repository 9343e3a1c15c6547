"""The data set `rubrics`: questions with the criteria that an answer is judged by, a line of JSON each.

    {"id": "q7", "question": "...", "criteria": [{"criterion": "...", "points": 5, "tags": ["accuracy"]}, ...]}
    {"prompt_id": "...", "prompt": [messages], "rubrics": [{"criterion": "...", "points": -5, "tags": [...]}, ...],
     "example_tags": [...]}                                                        HealthBench (arXiv:2505.08775)

A question may be a chat of any form (`omlab_text.rows`). A row may have `tags` (of the question), `group` (questions
that belong together), and `answer`: the one that the marks of experts at its criteria are of
(`"experts": {"dr a": true}`).

Criteria for all questions, or for one that `question` names by its id, may lie in a file of their own, a line each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omlab.card_schema import DatasetCard
from omlab.errors import InputError
from omlab.json_lines import read_json_lines
from omlab_text.chat import Chat
from omlab_text.criteria import Criteria, Criterion, criteria_in, tags_in
from omlab_text.line_cases import LineCase, LineData, text_in

ByQuestion = Mapping[str | None, Sequence[Criterion]]
"""Criteria by the id of the question that they are for; None: for all."""


class RubricData(LineData):
    """Rows with criteria, of which some may lie in another file."""

    def __init__(self, path: Path, more: Path | None, *, card: DatasetCard) -> None:
        self.more, self.further = more, _read_criteria(more) if more is not None else {}
        files = (path,) if more is None else (path, more)
        make = partial(_cases, further=self.further, files=files)
        super().__init__(path, make, kinds=card.inputs, target=card.target or "", task=card.task or "")

    def prepare(self) -> None:
        """Read the files. Raises `InputError` that names line and field, or a question that is not there."""
        super().prepare()
        unknown = self.further.keys() - {None} - {case.id for case in self.cases("test")}
        if unknown:
            raise InputError(
                f"{self.more} has criteria for '{min(map(str, unknown))}', which {self.path} does not ask."
            )


def open_rubrics(card: DatasetCard, *, root: Path, settings: Mapping[str, Any]) -> RubricData:
    """Entry of the card; `root` is the file."""
    return RubricData(Path(root), Path(settings["criteria"]) if settings["criteria"] else None, card=card)


def _cases(row: Mapping[str, Any], id: str, *, further: ByQuestion, files: Sequence[Path]) -> Sequence[LineCase]:
    id = text_in(row, "prompt_id") or id
    asked = row["prompt"] if isinstance(row.get("prompt"), list) else row
    chat = Chat.from_value(asked)
    chat.check_open()
    own = criteria_in(row.get("criteria", row.get("rubrics", [])))
    criteria = Criteria(criteria=(*own, *further.get(None, ()), *further.get(id, ())))
    return [
        LineCase(
            id=id,
            inputs={"chat": chat},
            target=criteria,
            group=text_in(row, "group"),
            meta={
                "tags": tags_in(row, "example_tags" if "example_tags" in row else "tags"),
                "answer": text_in(row, "answer"),
            },
            files={"chat": files[:1], "target": files},
        )
    ]


def _read_criteria(path: Path) -> ByQuestion:
    found: dict[str | None, list[Criterion]] = {}
    for number, row in read_json_lines(path):
        try:
            found.setdefault(text_in(row, "question"), []).append(Criterion.from_value(row))
        except InputError as error:
            raise InputError(f"{path}, line {number} cannot be used: {error}") from None
    if not found:
        raise InputError(f"{path} holds no criteria.")
    return found

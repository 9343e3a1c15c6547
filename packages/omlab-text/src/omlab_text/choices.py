"""The data set `choices`: questions with options, a line of JSON each.

    {"question": "...", "options": ["...", "..."], "answer": "B"}
    {"id": "q7", "question": "...", "options": {"A": "...", "B": "..."}, "answer": "B", "subject": "cardiology"}

An answer is a letter, the text of an option, or its place (from 0). A row may have `system` (what the model is told
first) and `group` (questions that belong together, such as those about one patient).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omlab.card_schema import DatasetCard
from omlab.errors import InputError
from omlab_text.chat import Chat, ask
from omlab_text.line_cases import LineCase, LineData, text_in
from omlab_text.options import LETTERS, Options


def open_choices(card: DatasetCard, *, root: Path, settings: Mapping[str, Any]) -> LineData:
    """Entry of the card; `root` is the file."""
    path = Path(root)
    make = partial(
        cases_of_row,
        path=path,
        shown=settings["shown"],
        rotations=settings["rotations"],
        instruction=settings["instruction"],
    )
    return LineData(path, make, kinds=card.inputs, target=card.target or "", task=card.task or "")


def cases_of_row(
    row: Mapping[str, Any], id: str, *, path: Path, shown: str, rotations: bool, instruction: str
) -> Sequence[LineCase]:
    """A question, once for each rotation of its options where these are asked for.

    The rotations `id`, `id+1`, ... are one group; in `id+1` the second option comes first. Raises `InputError`.
    """
    question = text_in(row, "question")
    if question is None:
        raise InputError("question: it is missing.")
    options = Options.from_value(row)
    if options.answer is None:
        raise InputError("answer: it is missing.")
    system, subject, group = (text_in(row, name) for name in ("system", "subject", "group"))
    cases = []
    for by in range(len(options.texts) if rotations else 1):
        turned = options.rotated(by)
        chat = _chat(question, turned, system=system or "", shown=shown, instruction=instruction)
        offered = turned if shown == "texts" else _letters(turned)
        cases.append(
            LineCase(
                id=f"{id}+{by}" if by else id,
                inputs={"chat": chat, "options": offered},
                target=offered,
                group=group or (id if rotations else None),
                meta={"question": id, "rotation": by, "subject": subject},
                files={"chat": (path,), "target": (path,)},
            )
        )
    return cases


def _chat(question: str, options: Options, *, system: str, shown: str, instruction: str) -> Chat:
    if shown == "texts":
        return ask(question, system=system)
    listed = [f"{letter}. {text}" for letter, text in zip(LETTERS, options.texts, strict=False)]
    return ask("\n".join([question, *listed, *([instruction] if instruction else [])]), system=system)


def _letters(options: Options) -> Options:
    return Options(texts=tuple(LETTERS[: len(options.texts)]), answer=options.answer)

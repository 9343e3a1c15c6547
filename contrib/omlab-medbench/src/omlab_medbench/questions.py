"""The pool of questions: JSON lines of ours, or the folder that MedBench publishes.

A question of ours: `set`, `id`, `question`; `options` (a list) where there are any; `specialty` and `difficulty` for
strata. In the published folder each set is a file `<set>_test.jsonl` (or `<set>.jsonl`), whose rows have `question`,
`options`, `answer` (null) and `other` (or `others`) with the `id`; a backslash and an n stand for a new line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omlab.errors import InputError
from omlab.json_lines import read_json_lines
from omlab_medbench.rows import Key
from omlab_medbench.tasks import Tasks

Question = Mapping[str, Any]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PUBLISHED = "_test"


def read_questions(path: Path, *, tasks: Tasks) -> list[Question]:
    """The pool. Raises `InputError` naming file and line."""
    found: dict[Key, Question] = {}
    for where, row in _published(path, tasks) if path.is_dir() else _ours(path):
        if row.get("set") not in tasks.sets or "id" not in row or not isinstance(row.get("question"), str):
            raise InputError(f"{where}: an item needs 'set' (of {tasks.version}), 'id' and 'question'.")
        options = row.get("options")
        if options is not None and not (
            isinstance(options, list) and 1 < len(options) <= len(LETTERS) and all(isinstance(o, str) for o in options)
        ):
            raise InputError(f"{where}: 'options' must be a list of two or more texts.")
        key = key_of(row)
        if key in found:
            raise InputError(f"{where}: {key[0]} {key[1]} is there already.")
        found[key] = row
    if not found:
        raise InputError(f"{path} holds no questions.")
    return list(found.values())


def key_of(row: Question) -> Key:
    """The set and the id of a question."""
    return row["set"], str(row["id"])


def published_files(folder: Path, *, tasks: Tasks) -> dict[str, Path]:
    """The files of a published folder by set. Raises `InputError` where there is none, or one of no known set."""
    files = {path.stem.removesuffix(_PUBLISHED): path for path in sorted(folder.glob("*.jsonl"))}
    unknown = sorted(set(files) - set(tasks.sets))
    if unknown:
        raise InputError(f"{files[unknown[0]]} is of no set of {tasks.version}: {', '.join(tasks.sets)}.")
    if not files:
        raise InputError(f"{folder} holds no questions: they are files <set>{_PUBLISHED}.jsonl.")
    return files


def published_id(row: Mapping[str, Any], number: int) -> str:
    """What a published row calls itself, else its line."""
    other = row.get("other", row.get("others"))
    found = other.get("id") if isinstance(other, Mapping) else None
    return str(number if found is None else found)


def _ours(path: Path) -> Iterator[tuple[str, Question]]:
    for number, row in read_json_lines(path):
        yield f"{path}, line {number}", row


def _published(folder: Path, tasks: Tasks) -> Iterator[tuple[str, Question]]:
    for name, path in published_files(folder, tasks=tasks).items():
        for number, row in read_json_lines(path):
            where = f"{path}, line {number}"
            if not isinstance(row.get("question"), str):
                raise InputError(f"{where}: an item needs a 'question'.")
            passage = row.get("passage")
            text = f"{passage}\n{row['question']}" if isinstance(passage, str) and passage else row["question"]
            options = row.get("options") or None
            yield (
                where,
                {
                    "set": name,
                    "id": published_id(row, number),
                    "question": text.replace("\\n", "\n"),
                    **({} if options is None else {"options": options}),
                },
            )

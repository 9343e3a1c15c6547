"""Answers of models to sets of questions: `ANSWERS/<set>/<model>.jsonl`, one JSON object a line.

Fields of a line: `question` and `predict_answer` (text), `reference_answer` (text, blank where there is none),
`type` (text) and `id` (text or number) if wanted. All models of a set answer the same questions in the same order.

Or <set>/<model>/generate.jsonl, as `omlab generate` leaves it: chats, whose questions stand in the order of their ids.
Reference answers to these are those of the file of questions, where it is given.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omlab.errors import InputError, UsageError
from omlab.json_lines import read_json_lines
from omlab_text.chat import Chat
from omlab_text.files import Lines

GENERATED = "generate.jsonl"
"""What the run of `omlab generate` calls its answers."""

RECORDED_ORDER = (
    "ChatGPT", "MING", "BianQue2", "ChatGLM3", "BenTsao", "GPT-4", "PULSE-OS", "QiZhenGPT", "DoctorGLM", "Baichuan2",
    "HuatuoGPT2", "PULSE-Pro",
)  # fmt: skip
"""The order of models that generates the recorded schedules."""


@dataclass(frozen=True, kw_only=True)
class AnswerSet:
    """One set: questions and references (items,), and each model's answers (items,), blank ones included."""

    name: str
    questions: Sequence[str]
    references: Sequence[str]
    answers: Mapping[str, Sequence[str]]
    files: Mapping[str, Path]

    @property
    def models(self) -> list[str]:
        """The models, in the order that counts for the schedule."""
        return list(self.answers)

    @property
    def blank(self) -> set[tuple[str, int]]:
        """(model, item) without an answer."""
        return {(m, n) for m, texts in self.answers.items() for n, text in enumerate(texts) if not text.strip()}


@dataclass(frozen=True)
class _Row:
    question: str
    reference: str
    answer: str
    line: int


def answer_files(root: Path, *, models: Sequence[str] = (), sets: Collection[str] = ()) -> dict[str, dict[str, Path]]:
    """The files by set and model. Every model has a file for every set.

    Args:
        root: The folder of answers.
        models: Only these, in this order; empty: all, those of `RECORDED_ORDER` first, the others by name.
        sets: Only these; empty: all.

    Raises:
        InputError: A file or folder is missing, or two files are one model's.
    """
    if not root.is_dir():
        raise InputError(f"{root} is not a folder: answers are files <set>/<model>.jsonl in it.")
    folders = [folder for folder in sorted(root.iterdir()) if folder.is_dir() and (not sets or folder.name in sets)]
    by_set = {folder.name: files for folder in folders if (files := _models_in(folder))}
    if not by_set:
        raise InputError(f"{root} holds no answers: they are files <set>/<model>.jsonl in it.")
    found = list(dict.fromkeys(model for files in by_set.values() for model in files))
    if models:
        unknown = [model for model in models if model not in found]
        if unknown:
            raise InputError(f"{root} has no answers of '{unknown[0]}'; there are answers of {', '.join(found)}.")
    order = list(models) or [*(m for m in RECORDED_ORDER if m in found), *sorted(set(found) - set(RECORDED_ORDER))]
    if len(order) < 2:
        raise InputError(f"{root} has answers of {order[0]} alone; a tournament needs two models or more.")
    for name, files in by_set.items():
        gone = next((model for model in order if model not in files), None)
        if gone is not None:
            raise InputError(f"{root / name / gone}.jsonl is missing: {gone} has answers to other sets.")
    return {name: {model: files[model] for model in order} for name, files in by_set.items()}


def _models_in(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    runs = [(path.parent.name, path) for path in sorted(folder.glob(f"*/{GENERATED}"))]
    for model, path in [*((path.stem, path) for path in sorted(folder.glob("*.jsonl"))), *runs]:
        twin = next((files[other] for other in files if other.casefold() == model.casefold()), None)
        if twin is not None:
            raise InputError(f"{path} and {twin.name} are both answers of one model: remove one of them.")
        files[model] = path
    return files


def read_answers(name: str, files: Mapping[str, Path], *, questions: Path | None = None) -> AnswerSet:
    """Read one set, with the file of questions that was answered, where it is known.

    Raises `InputError` that names the file and line where the files cannot be one set.
    """
    references = _references(questions) if questions is not None else {}
    tables: dict[str, list[_Row]] = {}
    contents: dict[str, Path] = {}
    first: tuple[Path, list[_Row]] | None = None
    for model, path in files.items():
        rows = list(_rows(path, references))
        if not rows:
            raise InputError(f"{path} is empty.")
        digest = hashlib.sha256(json.dumps([row.answer for row in rows]).encode()).hexdigest()
        if digest in contents and len(rows) > 1 and any(row.answer.strip() for row in rows):
            raise InputError(f"{path} holds the same answers as {contents[digest].name}: one is a copy of the other.")
        contents[digest] = path
        if first is None:
            first = (path, rows)
        _compare(path, rows, *first)
        tables[model] = rows
    if first is None:
        raise UsageError(f"The set '{name}' has no files.")
    return AnswerSet(
        name=name,
        questions=[row.question for row in first[1]],
        references=[row.reference for row in first[1]],
        answers={model: [row.answer for row in rows] for model, rows in tables.items()},
        files=dict(files),
    )


def _compare(path: Path, rows: Sequence[_Row], first_path: Path, first: Sequence[_Row]) -> None:
    for row, other in zip(rows, first, strict=False):
        for what, ours, theirs in (
            ("question", row.question, other.question),
            ("reference answer", row.reference, other.reference),
        ):
            if ours != theirs:
                raise InputError(
                    f"{path}, line {row.line}: the {what} differs from that in {first_path.name}, line {other.line}; "
                    "all models answer the same questions in the same order."
                )
    if len(rows) != len(first):
        raise InputError(f"{path} has {len(rows)} answers, but {first_path.name} has {len(first)}.")


def _rows(path: Path, references: Mapping[str, str]) -> Iterator[_Row]:
    seen: dict[str, int] = {}
    for line, row in read_json_lines(path):
        where = f"{path}, line {line}"
        row = _of_chat(row, references, where) if "messages" in row else row
        for field in ("question", "predict_answer"):
            if field not in row:
                raise InputError(f"{where}: the field '{field}' is missing.")
        for field in ("question", "predict_answer", "reference_answer", "type"):
            if not isinstance(row.get(field, ""), str):
                raise InputError(f"{where}: '{field}' must be text, not {row[field]!r:.40}.")
            if any("\ud800" <= letter <= "\udfff" for letter in row.get(field, "")):
                raise InputError(f"{where}: '{field}' holds half a character (a lone surrogate).")
        if not row["question"].strip():
            raise InputError(f"{where}: the question is blank.")
        key = json.dumps([row["id"]] if "id" in row else row["question"])
        if key in seen:
            what = f"id {row['id']!r:.40}" if "id" in row else "question"
            raise InputError(
                f"{where}: the {what} is that of line {seen[key]} again; is the file written twice? "
                "(Questions that do repeat need an 'id'.)"
            )
        seen[key] = line
        yield _Row(row["question"], row.get("reference_answer", ""), row["predict_answer"], line)


def _of_chat(row: Mapping[str, Any], references: Mapping[str, str], where: str) -> dict[str, Any]:
    """A chat that ends with its answer as a row; the question of several turns tells who said what."""
    try:
        *asked, last = Chat.from_value(dict(row)).turns
    except InputError as error:
        raise InputError(f"{where} cannot be used: {error}") from None
    if last.role != "assistant" or not asked:
        raise InputError(f"{where}: the chat does not end with an answer of the assistant.")
    question = asked[0].text if len(asked) == 1 else "\n".join(f"{turn.role}: {turn.text}" for turn in asked)
    id = str(row.get("id", ""))
    return {"id": id, "question": question, "predict_answer": last.text, "reference_answer": references.get(id, "")}


def _references(questions: Path) -> dict[str, str]:
    """The reference answers by the ids that `omlab generate` gives to the rows."""
    found = {}
    for id, (line, row) in zip(Lines().index(questions), read_json_lines(questions), strict=True):
        reference = row.get("reference_answer", "")
        if not isinstance(reference, str):
            raise InputError(f"{questions}, line {line}: 'reference_answer' must be text, not {reference!r:.40}.")
        found[id] = reference
    return found

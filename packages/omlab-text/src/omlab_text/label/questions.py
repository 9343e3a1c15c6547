"""Questions with the answers of several models, as they are read, and what takes names out of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from omlab.errors import InputError, SettingsError
from omlab.json_lines import read_json_lines
from omlab_text.chat import Chat
from omlab_text.rows import id_of, parts_of
from omlab_text.turns import Turn

FEWEST, MOST = 2, 12
"""Answers of a question."""

Deidentify = Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model answered; `id` tells it from the others of its question, and is never shown."""

    id: str
    text: str
    model: str = ""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is labelled: a chat up to the answer, the answers, and where in medicine it belongs."""

    id: str
    prompt: tuple[Mapping[str, str], ...]
    answers: tuple[Answer, ...]
    area: str = ""
    disease: str = ""

    def to_value(self) -> dict[str, Any]:
        """JSON, of which `from_value` makes it again."""
        prompt = [dict(turn) for turn in self.prompt]
        return {**vars(self), "prompt": prompt, "answers": [vars(answer) for answer in self.answers]}

    @classmethod
    def from_value(cls, value: Mapping[str, Any]) -> Question:
        """What `to_value` gave."""
        answers = tuple(Answer(**answer) for answer in value["answers"])
        return cls(**{**value, "prompt": tuple(value["prompt"]), "answers": answers})


class _AnswerRow(BaseModel):
    model_config = ConfigDict(strict=True)

    id: str | None = None
    text: str
    model: str = ""


class _QuestionRow(BaseModel):
    """Beside a prompt in one of the forms of `omlab_text.rows`."""

    model_config = ConfigDict(strict=True)

    answers: list[_AnswerRow | str]
    area: str = ""
    disease: str = ""


def read_questions(paths: Iterable[Path], *, deidentify: Deidentify | None = None) -> list[Question]:
    """The questions of JSON lines, in their order.

    A line is a question with its answers, `{"id", "prompt": [{"role", "content"}] or "question": "...",
    "answers": [{"text", "model"}], "area", "disease"}`; or a chat that ends with an answer, as `omlab generate` writes
    it: those with one id, in as many files as there are models, are one question.

    Raises `InputError` that names file and line: for another row, one id with two prompts, fewer than 2 answers or
    more than 12, and where `deidentify` gives no text.
    """
    found: dict[str, Question] = {}
    places: dict[str, str] = {}
    for path in paths:
        for number, row in read_json_lines(path):
            where = f"{path}, line {number}"
            try:
                question = _question(row, number=number)
                known = found.get(question.id)
                if known is not None and "answers" in row:
                    raise InputError(f"The id '{question.id}' was used before, {places[question.id]}.")
                found[question.id] = question if known is None else _joined(known, question)
            except InputError as error:
                raise InputError(f"{where} cannot be used: {error}") from None
            places.setdefault(question.id, where)
    for id, question in found.items():
        if not FEWEST <= len(question.answers) <= MOST:
            count = len(question.answers)
            raise InputError(f"{places[id]}: the question has {count} answers, but {FEWEST} to {MOST} can be ranked.")
    if not found:
        raise InputError("There is no question in what was given.")
    if deidentify is None:
        return list(found.values())
    return [_without_names(question, deidentify, where=places[question.id]) for question in found.values()]


def load_deidentify(name: str) -> Deidentify | None:
    """The function that `module:function` names; None for "". Raises `SettingsError`."""
    if not name:
        return None
    module, _, attribute = name.partition(":")
    try:
        function = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise SettingsError(f"The setting 'deidentify' is '{name}', which cannot be imported: {error}.") from None
    if not callable(function):
        raise SettingsError(f"The setting 'deidentify' is '{name}', which is no function.")
    return function  # type: ignore[no-any-return]  # what it gives is checked where it is used


def _question(row: dict[str, Any], *, number: int) -> Question:
    id = id_of(row) or f"{number:06d}"
    if not id.isprintable():
        raise InputError("Its 'id' holds what cannot be printed.")
    if "answers" not in row:
        return _of_chat(row, id=id)
    try:
        given = _QuestionRow.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.") from None
    answers = [_AnswerRow(text=answer) if isinstance(answer, str) else answer for answer in given.answers]
    named = [
        Answer(id=answer.id or f"a{place}", text=answer.text, model=answer.model)
        for place, answer in enumerate(answers, start=1)
    ]
    if len({answer.id for answer in named}) < len(named):
        raise InputError("Two answers have the same id.")
    prompt = row.get("prompt")
    turns = Chat.from_value(prompt if isinstance(prompt, list) else row).turns
    return Question(id=id, prompt=_prompt(turns), answers=tuple(named), area=given.area, disease=given.disease)


def _of_chat(row: dict[str, Any], *, id: str) -> Question:
    turns, _, made = parts_of(row)
    if len(turns) < 2 or turns[-1].role != "assistant":
        raise InputError("It has no field 'answers', and does not end with an answer of the assistant.")
    answer = Answer(id="a1", text=Chat(turns=turns).in_words(), model=made.model if made else "")
    return Question(id=id, prompt=_prompt(turns[:-1]), answers=(answer,))


def _joined(known: Question, further: Question) -> Question:
    if known.prompt != further.prompt:
        raise InputError(f"The id '{known.id}' was used before with another prompt.")
    taken = len(known.answers)
    answers = [replace(answer, id=f"a{taken + n}") for n, answer in enumerate(further.answers, start=1)]
    return replace(known, answers=(*known.answers, *answers))


def _prompt(turns: Iterable[Turn]) -> tuple[Mapping[str, str], ...]:
    prompt = []
    for turn in turns:
        if turn.images:
            raise InputError("A turn shows images, which the labelling page does not.")
        prompt.append({"role": turn.role, "content": Chat(turns=(turn,)).in_words()})
    return tuple(prompt)


def _without_names(question: Question, deidentify: Deidentify, *, where: str) -> Question:
    def cleaned(text: str) -> str:
        try:
            found = deidentify(text)
        except Exception as error:  # somebody else's function: a text that it cannot clean is not shown
            raise InputError(f"{where}: what de-identifies failed: {type(error).__name__}: {error}.") from error
        if not isinstance(found, str):
            raise InputError(f"{where}: what de-identifies gave {type(found).__name__}, not a text.")
        return found

    prompt = tuple({**turn, "content": cleaned(turn["content"])} for turn in question.prompt)
    answers = tuple(replace(answer, text=cleaned(answer.text)) for answer in question.answers)
    return replace(question, prompt=prompt, answers=answers)

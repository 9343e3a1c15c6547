"""Answers as JSON lines, checked: errors name the file and line.

An answer: `set`, `id`, `predict_answer` (text), `reference_answer` unless a file of references brings it; `prompt`
(name of the instruction), `letters` (shown letter to original one), `rotation` (of the options) and `canary` where
`omlab medbench draw` made the item.
A reference: `set`, `id`, `reference_answer`. The form of a reference is that of its set:

    letters              "AC", "A" or ["A", "C"]              text, label, yes-no   text
    cloze                ["department", ...] or text          terms                 ["term", ...] or entities
    entities, fields     [{"type", "entity"}, ...]            record                {"section": "text"} or entities
    relations            [{"predicate", "subject", "object"}, ...]
    events               [{subject, state, descriptions, sites}, ...], the keys in Chinese as in the answers
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omlab.errors import InputError
from omlab.json_lines import read_json_lines
from omlab_medbench.tasks import Tasks

Key = tuple[str, str]


@dataclass(frozen=True)
class Answer:
    """One answered item; `reference` in the one form that scoring uses.

    `rotation`: of the options, where they were asked in all (`omlab medbench draw --circular`). `leaked`: the answer
    holds the canary of its draw, which it was not shown.
    """

    id: str
    prediction: str
    reference: Any
    prompt: str = ""
    rotation: int = 0
    leaked: bool = False


def read_answers(path: Path, *, references: Path | None, tasks: Tasks) -> dict[str, list[Answer]]:
    """Answers by set, in the order of the file. Raises `InputError` naming file and line."""
    gold = _references(references, tasks) if references is not None else {}
    found: dict[str, list[Answer]] = {}
    lines: dict[tuple[Key, int], int] = {}
    for number, row in read_json_lines(path):
        where = f"{path}, line {number}"
        key, rotation = _key(row, where, tasks), row.get("rotation", 0)
        if not isinstance(rotation, int) or rotation < 0:
            raise InputError(f"{where}: 'rotation' must be 0, 1, ..., not {rotation!r:.40}.")
        if (key, rotation) in lines:
            raise InputError(f"{where}: {key[0]} {key[1]} is answered in line {lines[key, rotation]} already.")
        lines[key, rotation] = number
        if not isinstance(row.get("predict_answer"), str):
            raise InputError(f"{where}: 'predict_answer' is missing or no text.")
        if "reference_answer" in row and references is not None:
            raise InputError(f"{where} has a 'reference_answer' of its own beside the file of references: which one?")
        if "reference_answer" not in row and key not in gold:
            whose = f"; {references} has none for {key[0]} {key[1]}" if references is not None else ""
            raise InputError(f"{where}: there is no reference answer{whose}.")
        form = tasks.sets[key[0]].form
        reference = gold[key] if key in gold else normal_reference(row["reference_answer"], form, where)
        prediction = original_letters(row, where) if form == "letters" else row["predict_answer"]
        canary = row.get("canary")
        leaked = isinstance(canary, str) and canary != "" and canary in row["predict_answer"]
        answer = Answer(key[1], prediction, reference, str(row.get("prompt", "")), rotation, leaked)
        found.setdefault(key[0], []).append(answer)
    if not found:
        raise InputError(f"{path} holds no answers.")
    missing = sorted(key for key in gold if (key, 0) not in lines and key[0] in found)
    if missing:
        name, id = missing[0]
        raise InputError(f"{path} lacks {len(missing)} answers; the first is {name} {id}. Answer it, be it with ''.")
    return found


def _references(path: Path, tasks: Tasks) -> dict[Key, Any]:
    gold: dict[Key, Any] = {}
    for number, row in read_json_lines(path):
        where = f"{path}, line {number}"
        key = _key(row, where, tasks)
        if key in gold:
            raise InputError(f"{where}: {key[0]} {key[1]} has a reference already.")
        if "reference_answer" not in row:
            raise InputError(f"{where}: the field 'reference_answer' is missing.")
        gold[key] = normal_reference(row["reference_answer"], tasks.sets[key[0]].form, where)
    if not gold:
        raise InputError(f"{path} holds no references.")
    return gold


def _key(row: Mapping[str, Any], where: str, tasks: Tasks) -> Key:
    name, id = row.get("set"), row.get("id")
    if name not in tasks.sets:
        raise InputError(f"{where}: the set is {name!r:.40}, but must be one of {', '.join(tasks.sets)}.")
    if not isinstance(id, str | int) or isinstance(id, bool):
        raise InputError(f"{where}: 'id' is missing or neither text nor a whole number.")
    return str(name), str(id)


def original_letters(row: Mapping[str, Any], where: str) -> str:
    """The answer with the letters that the item had before its options were permuted."""
    shown, text = row.get("letters"), str(row["predict_answer"])
    if shown is None:
        return text
    if not isinstance(shown, dict) or sorted(shown) != sorted(shown.values()):
        raise InputError(f"{where}: 'letters' must map the letters shown to the original ones.")
    from omlab_medbench.strict import letters

    return "、".join(sorted(shown.get(letter, letter) for letter in letters(text)))


def normal_reference(value: Any, form: str, where: str) -> Any:
    """The reference in the one form that scoring uses. Raises `InputError` where it is of another."""
    good = False
    if form == "letters":
        value = list(value) if isinstance(value, str) else value
        good = isinstance(value, list) and bool(value) and all(isinstance(x, str) and len(x) == 1 for x in value)
    elif form in ("text", "label", "yes-no"):
        good = isinstance(value, str)
    elif form == "cloze":
        value = [value] if isinstance(value, str) else value
        good = isinstance(value, list) and bool(value) and all(isinstance(x, str) and x for x in value)
    elif form == "record":
        if isinstance(value, list) and all(isinstance(x, dict) and {"type", "entity"} <= set(x) for x in value):
            value = {x["type"]: x["entity"] for x in value}
        good = isinstance(value, dict) and all(isinstance(x, str) for x in value.values())
    else:
        if form == "terms" and isinstance(value, list) and all(isinstance(x, str) for x in value):
            value = [{"entity": x, "type": "normalization"} for x in value]
        keys = {
            "relations": {"predicate", "subject", "object"},
            "events": {"主体词", "发生状态", "描述词", "解剖部位"},
        }.get(form, {"type", "entity"})
        good = isinstance(value, list) and all(isinstance(x, dict) and set(x) == keys for x in value)
    if not good:
        raise InputError(f"{where}: the reference is not of the form '{form}': {json.dumps(value)[:60]}.")
    return value

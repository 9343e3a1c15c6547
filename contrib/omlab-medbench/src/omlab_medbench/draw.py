"""Draw items for a run: stratified, with an instruction at random and options permuted; seeded and recorded.

A question: `set`, `id`, `question`; `options` (a list) where there are any; `specialty` and `difficulty` for strata.
The answers are not read: they stay in a file of their own.
"""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omlab.digests import digest_of, file_digest
from omlab.errors import InputError, OutputError, UsageError
from omlab.files import replacing, write_json, writing
from omlab.json_lines import read_json_lines
from omlab_medbench.tasks import Tasks

Question = Mapping[str, Any]
Key = tuple[str, str]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
RECORD = "draw.json"
ITEMS = "items.jsonl"


@dataclass(frozen=True, kw_only=True)
class DrawSettings:
    """How many items for each set, at least how many of a stratum (as far as there are), seed, permuting."""

    count: int
    least: int = 1
    seed: int = 0
    permute: bool = True

    def __post_init__(self) -> None:
        if self.count < 1 or self.least < 0 or self.seed < 0:
            raise UsageError(
                f"count is {self.count}, least {self.least}, seed {self.seed}: none may be less than 1, 0, 0."
            )


def read_questions(path: Path, *, tasks: Tasks) -> list[Question]:
    """The pool. Raises `InputError` naming file and line."""
    found: dict[Key, Question] = {}
    for number, row in read_json_lines(path):
        where = f"{path}, line {number}"
        if row.get("set") not in tasks.sets or "id" not in row or not isinstance(row.get("question"), str):
            raise InputError(f"{where}: an item needs 'set' (of {tasks.version}), 'id' and 'question'.")
        options = row.get("options")
        if options is not None and not (
            isinstance(options, list) and 1 < len(options) <= len(LETTERS) and all(isinstance(o, str) for o in options)
        ):
            raise InputError(f"{where}: 'options' must be a list of two or more texts.")
        key = (row["set"], str(row["id"]))
        if key in found:
            raise InputError(f"{where}: {key[0]} {key[1]} is there already.")
        found[key] = row
    if not found:
        raise InputError(f"{path} holds no questions.")
    return list(found.values())


def draw(
    questions: Sequence[Question], *, settings: DrawSettings, tasks: Tasks, before: Collection[Key] = frozenset()
) -> list[dict[str, Any]]:
    """The items of a run, in the order of the pool: the same seed and pool draw the same.

    `before` are the items of earlier runs; they are drawn only where the pool has no others left.
    """
    rng = random.Random(settings.seed)  # noqa: S311 - a drawing that others must be able to repeat
    chosen: set[Key] = set()
    for name in tasks.sets:
        pool = [row for row in questions if row["set"] == name]
        chosen |= _of_one_set(pool, rng, settings, before)
    return [_item(row, settings, tasks) for row in questions if _key(row) in chosen]


def _of_one_set(
    pool: Sequence[Question], rng: random.Random, settings: DrawSettings, before: Collection[Key]
) -> set[Key]:
    """`least` of each stratum, then the rest in proportion; new items before old ones."""
    strata: dict[tuple[str, str], list[Key]] = {}
    for row in pool:
        strata.setdefault((str(row.get("specialty", "")), str(row.get("difficulty", ""))), []).append(_key(row))
    for keys in strata.values():
        rng.shuffle(keys)
        keys.sort(key=lambda key: key in before)  # stable: shuffled within new and old
    wanted = min(settings.count, len(pool))
    chosen = [key for keys in strata.values() for key in keys[: settings.least]]
    if len(chosen) > wanted:
        rng.shuffle(chosen)
        return set(chosen[:wanted])
    rest = [key for keys in strata.values() for key in keys[settings.least :]]
    rng.shuffle(rest)  # a shuffle of all that is left draws from each stratum in proportion
    rest.sort(key=lambda key: key in before)
    return {*chosen, *rest[: wanted - len(chosen)]}


def _item(row: Question, settings: DrawSettings, tasks: Tasks) -> dict[str, Any]:
    """The item as it is asked. Its instruction and permutation depend on the seed and the item alone."""
    rng = random.Random(digest_of([settings.seed, *_key(row)]))  # noqa: S311 - repeatable, not secret
    prompts = tasks.prompts_for(tasks.sets[row["set"]].form)
    number = rng.randrange(len(prompts))
    item: dict[str, Any] = {"set": row["set"], "id": row["id"], "prompt": f"{number + 1}"}
    lines = [prompts[number], row["question"]]
    options = row.get("options")
    if options:
        order = list(range(len(options)))
        if settings.permute:
            rng.shuffle(order)
        lines += [f"{LETTERS[shown]}. {options[original]}" for shown, original in enumerate(order)]
        item["letters"] = {LETTERS[shown]: LETTERS[original] for shown, original in enumerate(order)}
    return {**item, "question": "\n".join(lines)}


def drawn_before(folders: Sequence[Path]) -> set[Key]:
    """The items of earlier draws. Raises `InputError` where a folder is not one."""
    keys = set()
    for folder in folders:
        try:
            keys |= {(row[0], row[1]) for row in json.loads((folder / RECORD).read_text(encoding="utf-8"))["items"]}
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            raise InputError(f"{folder} is not the folder of a draw: it has no {RECORD} that can be read.") from None
    return keys


def write_draw(
    folder: Path, items: Sequence[Mapping[str, Any]], *, settings: DrawSettings, tasks: Tasks, pool: Path, before: int
) -> None:
    """Write `items.jsonl` and `draw.json`, which says how they were drawn."""
    if folder.exists():
        raise OutputError(f"{folder} exists already; choose another folder for the draw.")
    with writing("The draw", folder), replacing(folder) as temporary:
        temporary.mkdir()
        lines = [json.dumps(item, ensure_ascii=False) + "\n" for item in items]
        (temporary / ITEMS).write_text("".join(lines), encoding="utf-8")
        write_json(
            temporary / RECORD,
            {
                "version": tasks.version,
                **vars(settings),
                "questions": {"file": str(pool), "sha256": file_digest(pool)},
                "items_of_earlier_draws": before,
                "items": [[item["set"], str(item["id"]), item["prompt"]] for item in items],
            },
        )


def _key(row: Question) -> Key:
    return row["set"], str(row["id"])

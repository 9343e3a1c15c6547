"""Draw items for a run: stratified, with an instruction at random and options permuted; seeded and recorded.

Each item carries the draw's canary: a text that is found nowhere else, so that a training corpus (or an answer) that
holds it has seen the items (`omlab medbench overlap`). The answers to questions are not read: they stay in a file of
their own.
"""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omlab.digests import digest_of, file_digest
from omlab.errors import InputError, OutputError, UsageError
from omlab.files import replacing, write_json, writing
from omlab_medbench.questions import LETTERS, Question, key_of
from omlab_medbench.rows import Key
from omlab_medbench.tasks import Tasks

RECORD = "draw.json"
ITEMS = "items.jsonl"


@dataclass(frozen=True, kw_only=True)
class DrawSettings:
    """How many items for each set, at least how many of a stratum (as far as there are), seed, permuting.

    `circular`: an item with options is asked once for each rotation of them.
    """

    count: int
    least: int = 1
    seed: int = 0
    permute: bool = True
    circular: bool = False

    def __post_init__(self) -> None:
        if self.count < 1 or self.least < 0 or self.seed < 0:
            raise UsageError(
                f"count is {self.count}, least {self.least}, seed {self.seed}: none may be less than 1, 0, 0."
            )


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
    canary = f"omlab-medbench-canary-{digest_of([tasks.version, vars(settings), sorted(chosen)])[:32]}"
    items = [item for row in questions if key_of(row) in chosen for item in _items(row, settings, tasks)]
    return [{**item, "canary": canary} for item in items]


def _of_one_set(
    pool: Sequence[Question], rng: random.Random, settings: DrawSettings, before: Collection[Key]
) -> set[Key]:
    """`least` of each stratum, then the rest in proportion; new items before old ones."""
    strata: dict[tuple[str, str], list[Key]] = {}
    for row in pool:
        strata.setdefault((str(row.get("specialty", "")), str(row.get("difficulty", ""))), []).append(key_of(row))
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


def _items(row: Question, settings: DrawSettings, tasks: Tasks) -> Iterator[dict[str, Any]]:
    """The item as it is asked. Its instruction and permutation depend on the seed and the item alone."""
    rng = random.Random(digest_of([settings.seed, *key_of(row)]))  # noqa: S311 - repeatable, not secret
    prompts = tasks.prompts_for(tasks.sets[row["set"]].form)
    number = rng.randrange(len(prompts))
    item: dict[str, Any] = {"set": row["set"], "id": row["id"], "prompt": f"{number + 1}"}
    lines, options = [prompts[number], row["question"]], row.get("options")
    if not options:
        yield {**item, "question": "\n".join(lines)}
        return
    order = list(range(len(options)))
    if settings.permute:
        rng.shuffle(order)
    for rotation in range(len(order) if settings.circular else 1):
        turned = order[rotation:] + order[:rotation]
        shown = [f"{LETTERS[place]}. {options[original]}" for place, original in enumerate(turned)]
        letters = {LETTERS[place]: LETTERS[original] for place, original in enumerate(turned)}
        more = {"letters": letters, **({"rotation": rotation} if settings.circular else {})}
        yield {**item, **more, "question": "\n".join([*lines, *shown])}


def drawn_before(folders: Sequence[Path]) -> set[Key]:
    """The items of earlier draws. Raises `InputError` where a folder is not one."""
    keys = set()
    for folder in folders:
        try:
            keys |= {(row[0], row[1]) for row in json.loads((folder / RECORD).read_text(encoding="utf-8"))["items"]}
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            raise InputError(f"{folder} is not the folder of a draw: it has no {RECORD} that can be read.") from None
    return keys


def drawn_canary(folder: Path) -> str:
    """The canary of a draw. Raises `InputError` where the folder is not one, or has none."""
    try:
        canary = json.loads((folder / RECORD).read_text(encoding="utf-8"))["canary"]
    except (OSError, ValueError, KeyError, TypeError):
        canary = None
    if not isinstance(canary, str) or not canary:
        raise InputError(f"{folder} is not the folder of a draw with a canary: there is none in its {RECORD}.")
    return canary


def write_draw(
    folder: Path,
    items: Sequence[Mapping[str, Any]],
    *,
    settings: DrawSettings,
    tasks: Tasks,
    pool: Sequence[Path],
    before: int,
) -> None:
    """Write `items.jsonl` and `draw.json`, which says how they were drawn, from which files."""
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
                "questions": {"files": {path.name: file_digest(path) for path in pool}},
                "canary": next((item["canary"] for item in items), None),
                "items_of_earlier_draws": before,
                "items": [[item["set"], str(item["id"]), item["prompt"]] for item in items if not item.get("rotation")],
            },
        )

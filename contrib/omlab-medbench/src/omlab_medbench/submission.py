"""Write answers back into the rows that MedBench publishes: the folder that its server takes."""

from __future__ import annotations

import json
from pathlib import Path

from omlab.errors import InputError, OutputError
from omlab.files import replacing, writing
from omlab.json_lines import read_json_lines
from omlab_medbench.questions import published_files, published_id
from omlab_medbench.rows import Key, original_letters
from omlab_medbench.tasks import Tasks


def write_submission(questions: Path, answers: Path, folder: Path, *, tasks: Tasks) -> int:
    """The published rows with `answer` filled, nothing else changed; gives how many.

    Answers are JSON lines with `set`, `id` and `predict_answer`; letters are those of the published order of options.

    Raises:
        InputError: A question has no answer, or an answer is to none.
        OutputError: The folder is there already.
    """
    if folder.exists():
        raise OutputError(f"{folder} exists already; choose another folder for the submission.")
    given = _answers(answers, tasks)
    used: set[Key] = set()
    with writing("The submission", folder), replacing(folder) as temporary:
        temporary.mkdir()
        for name, path in published_files(questions, tasks=tasks).items():
            lines = []
            for number, row in read_json_lines(path):
                key = (name, published_id(row, number))
                if key not in given:
                    raise InputError(f"{answers} has no answer to {name} {key[1]} ({path}, line {number}).")
                used.add(key)
                lines.append(json.dumps({**row, "answer": given[key]}, ensure_ascii=False) + "\n")
            (temporary / path.name).write_text("".join(lines), encoding="utf-8")
        unknown = sorted(given.keys() - used)
        if unknown:
            raise InputError(f"{answers} answers {unknown[0][0]} {unknown[0][1]}, which {questions} does not ask.")
    return len(used)


def _answers(path: Path, tasks: Tasks) -> dict[Key, str]:
    found: dict[Key, str] = {}
    for number, row in read_json_lines(path):
        where = f"{path}, line {number}"
        if row.get("set") not in tasks.sets or "id" not in row or not isinstance(row.get("predict_answer"), str):
            raise InputError(f"{where}: an answer needs 'set' (of {tasks.version}), 'id' and 'predict_answer'.")
        if row.get("rotation"):
            continue
        key = (row["set"], str(row["id"]))
        if key in found:
            raise InputError(f"{where}: {key[0]} {key[1]} is answered already.")
        is_letters = tasks.sets[key[0]].form == "letters"
        found[key] = original_letters(row, where) if is_letters else row["predict_answer"]
    return found

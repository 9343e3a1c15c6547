"""What there is to evaluate: battle logs, sets of answers, triage predictions, finished scores."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omlab.errors import InputError, UsageError

Columns = dict[str, dict[str, float]]


def set_name(path: Path) -> str:
    """The set of a battle log: its name without `battles-`."""
    return path.stem.removeprefix("battles-")


def battle_logs(paths: Sequence[Any]) -> dict[str, Path]:
    """The logs by set; a folder stands for its CSV files. Raises `InputError`."""
    found: dict[str, Path] = {}
    for path in (Path(str(text)) for text in paths):
        if not path.exists():
            raise InputError(f"{path} does not exist.")
        files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
        if not files:
            raise InputError(f"{path} holds no battle logs: they are .csv files.")
        for file in files:
            name = set_name(file)
            if name in found:
                raise InputError(f"{file} and {found[name]} are both the battles of '{name}': rename one of them.")
            found[name] = file
    return found


def read_scores(path: Path) -> Columns:
    """Scores by column and model, from JSON (`columns`, `scores`) or CSV (`model` and the columns)."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text.") from None
    names, rows = _from_csv(path, text) if path.suffix.lower() == ".csv" else _from_json(path, text)
    columns: Columns = {name: {} for name in names}
    for model, values in rows.items():
        if len(values) != len(names):
            raise InputError(f"{path}: {model} has {len(values)} scores, but there are {len(names)} columns.")
        for name, value in zip(names, values, strict=True):
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise InputError(f"{path}: the score of {model} in '{name}' is {value!r:.40}, not a number.")
            columns[name][model] = float(value)
    if not columns or len(rows) < 2:
        raise InputError(f"{path} must have scores of two or more models in one or more columns.")
    return columns


def _from_json(path: Path, text: str) -> tuple[list[str], dict[str, list[Any]]]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}.") from None
    if not isinstance(document, dict):
        raise InputError(f"{path} must be an object with 'columns' and 'scores'.")
    names, scores = document.get("columns"), document.get("scores")
    if not isinstance(names, list) or not isinstance(scores, dict) or len(set(map(str, names))) != len(names):
        raise InputError(f"{path} must have 'columns' (different names) and 'scores' (a list for each model).")
    if not all(isinstance(row, list) for row in scores.values()):
        raise InputError(f"{path}: the scores of each model must be a list.")
    return [str(name) for name in names], scores


def _from_csv(path: Path, text: str) -> tuple[list[str], dict[str, list[Any]]]:
    reader = csv.reader(text.splitlines())
    header = next(reader, [])
    if not header or header[0] != "model" or len(set(header)) != len(header):
        raise InputError(f"{path}, line 1: the first column must be 'model', the others the scores, each once.")
    rows: dict[str, list[Any]] = {}
    for row in reader:
        if not row:
            continue
        if row[0] in rows:
            raise InputError(f"{path}, line {reader.line_num}: {row[0]} stands there a second time.")
        try:
            rows[row[0]] = [float(value) for value in row[1:]]
        except ValueError:
            raise InputError(f"{path}, line {reader.line_num}: a score is not a number.") from None
    return header[1:], rows


def fractions_of(columns: Columns) -> list[str]:
    """The columns whose scores all lie in 0..1: F1 and its like, not ratings."""
    return [name for name, scores in columns.items() if all(0 <= value <= 1 for value in scores.values())]


def read_indices(path: Path, *, count: int) -> list[list[int]]:
    """Explicit draws: a list of rounds, each of `count` battle numbers from 0. Raises `InputError`."""
    try:
        rounds = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}.") from None
    if not isinstance(rounds, list) or not rounds:
        raise InputError(f"{path} is not a list of rounds.")
    for number, row in enumerate(rounds, start=1):
        if not isinstance(row, list) or len(row) != count:
            raise InputError(f"{path}: round {number} must have {count} numbers, one for each battle.")
        if not all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < count for n in row):
            raise InputError(f"{path}: round {number} has something else than battle numbers from 0 to {count - 1}.")
    return rounds


def existing(path: str, *, what: str) -> Path:
    """`path`, which must be there. Raises `InputError`."""
    found = Path(path)
    if not found.exists():
        raise InputError(f"{what} {found} does not exist.")
    return found


def require_one(settings: Mapping[str, Any], names: Sequence[str]) -> None:
    """Raise `UsageError` where none of the settings is given."""
    if not any(settings[name] for name in names):
        options = ", ".join(f"--{name}" for name in names)
        raise UsageError(f"Say what to evaluate with one or more of {options}.")

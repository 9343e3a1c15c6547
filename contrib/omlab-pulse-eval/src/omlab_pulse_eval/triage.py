"""Triage: departments named in an answer against those of the reference, as published and mended.

As published: spaces (U+0020) are taken out, the text is split at `|`, nothing else is trimmed and duplicates count;
an empty answer is one piece. Hits are reference pieces found among the predicted ones;
P = hits / (predicted + 1e-10), R = hits / (labelled + 1e-10), F1 = 2PR / (P + R + 1e-10), summed over items (micro).

Mended (`mended_f1`): also commas, semicolons and line breaks part the pieces, each is trimmed and counted once,
and only the first few pieces can hit, so that naming every department earns nothing.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omlab.errors import InputError

TINY = 1e-10
COLUMNS = ("model", "item", "predicted", "other", "labels")
OTHER = "?"
"""Stands for a piece that is no department, where the file counts those instead of naming them."""

_PARTS = re.compile(r"[|,;\n\r、，；]")  # noqa: RUF001 - the commas of Chinese answers


@dataclass(frozen=True)
class Item:
    """One answer: pieces as published, pieces mended (distinct, in order), and the reference's pieces."""

    predicted: Sequence[str]
    distinct: Sequence[str]
    labels: Sequence[str]


def published_pieces(text: str) -> list[str]:
    """The pieces of a text as the published metric sees them."""
    return text.replace(" ", "").split("|")


def mended_pieces(text: str) -> list[str]:
    """Distinct pieces, trimmed, in their order; none for a blank text."""
    return list(dict.fromkeys(piece.strip() for piece in _PARTS.split(text) if piece.strip()))


def item_of(prediction: str, reference: str) -> Item:
    """An item of an answer's text and the reference's."""
    return Item(published_pieces(prediction), mended_pieces(prediction), published_pieces(reference))


def triage_figures(items: Sequence[Item], *, guesses: int = 5) -> dict[str, float | int]:
    """Counts, precision, recall, F1 and exact accuracy as published; `mended_*`, coverage, pieces per answer."""
    hits = sum(sum(label in item.predicted for label in item.labels) for item in items)
    predicted = sum(len(item.predicted) for item in items)
    labelled = sum(len(item.labels) for item in items)
    exact = sum(set(item.predicted) == set(item.labels) for item in items)
    mended_hits = sum(len(set(item.distinct[:guesses]) & set(item.labels)) for item in items)
    distinct, wanted = sum(len(item.distinct) for item in items), sum(len(set(item.labels)) for item in items)
    precision, recall, f1 = _micro(hits, predicted, labelled)
    mended_precision, mended_recall, mended_f1 = _micro(mended_hits, distinct, wanted)
    covered = sum(any(label in item.distinct for label in item.labels) for item in items)
    return {
        "items": len(items), "hits": hits, "predicted": predicted, "labelled": labelled, "exact": exact,
        "precision": precision, "recall": recall, "f1": f1, "accuracy": exact / len(items),
        "mended_precision": mended_precision, "mended_recall": mended_recall, "mended_f1": mended_f1,
        "coverage": covered / len(items), "pieces_per_answer": predicted / len(items),
    }  # fmt: skip


def _micro(hits: int, predicted: int, labelled: int) -> tuple[float, float, float]:
    precision, recall = hits / (predicted + TINY), hits / (labelled + TINY)
    return precision, recall, 2 * precision * recall / (precision + recall + TINY)


def read_departments(path: Path) -> dict[str, str]:
    """Codes with their names, from a JSON object of names with their codes. Raises `InputError`."""
    try:
        names = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}.") from None
    if not isinstance(names, dict) or not names or not all(isinstance(code, str) for code in names.values()):
        raise InputError(f"{path} is not an object of department names with their codes.")
    codes = {code: name for name, code in names.items()}
    if len(codes) != len(names):
        raise InputError(f"{path} gives one code to two departments.")
    return codes


def read_triage(path: Path, *, departments: Mapping[str, str] | None = None) -> dict[str, list[Item]]:
    """Items by model from CSV: model, item, predicted and labels (codes parted by `|`), other (a count).

    `other` counts further predicted pieces that are no department. Raises `InputError` naming file and line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return _read(path, stream, departments)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text: triage predictions are a CSV file.") from None


def _read(path: Path, stream: Iterable[str], departments: Mapping[str, str] | None) -> dict[str, list[Item]]:
    reader = csv.DictReader(stream, restkey="")
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise InputError(f"{path}, line 1: the column '{missing[0]}' is missing; the columns are {COLUMNS}.")
    items: dict[str, dict[str, Item]] = {}
    labels: dict[str, tuple[int, str]] = {}
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        if None in row.values() or "" in row or not row["model"]:
            raise InputError(f"{where}: the row does not have one field for each of the columns {COLUMNS}.")
        if row["item"] in items.setdefault(row["model"], {}):
            raise InputError(f"{where}: {row['model']} has item {row['item']} a second time.")
        before = labels.setdefault(row["item"], (reader.line_num, row["labels"]))
        if before[1] != row["labels"]:
            raise InputError(f"{where}: the labels of item {row['item']} differ from those in line {before[0]}.")
        items[row["model"]][row["item"]] = _item(row, where, departments)
    for model, found in items.items():
        gone = next((item for item in labels if item not in found), None)
        if gone is not None:
            raise InputError(f"{path} has no row of {model} for item {gone}, which other models have.")
    if not items:
        raise InputError(f"{path} holds no predictions.")
    return {model: list(found.values()) for model, found in items.items()}


def _item(row: Mapping[str, str], where: str, departments: Mapping[str, str] | None) -> Item:
    predicted = [code for code in row["predicted"].split("|") if code]
    labels = [code for code in row["labels"].split("|") if code]
    if not labels:
        raise InputError(f"{where}: the reference names no department.")
    for code in (*predicted, *labels):
        if departments is not None and code not in departments:
            raise InputError(f"{where}: '{code}' is the code of no department.")
    if not row["other"].isdecimal():
        raise InputError(f"{where}: 'other' is '{row['other']}', but must be a count.")
    others = int(row["other"]) or (0 if predicted else 1)  # a blank answer is one piece
    distinct = [*dict.fromkeys(predicted), *(f"{OTHER}{n}" for n in range(others))]
    return Item([*predicted, *[OTHER] * others], distinct, labels)

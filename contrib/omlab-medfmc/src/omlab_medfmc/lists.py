"""Lists of MedFMC: a line, or a row of a CSV file, names an image and its classes.

Names may have spaces (ColonPath) and many dots (ChestDR), with a suffix or without. Where a name comes twice it is
kept twice: in the published few-shot lists an image drawn for two classes stands there for each.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omlab.errors import InputError
from omlab_medfmc.sets import MedfmcSet

NAMES = ("img_id", "image_id", "image", "img", "filename", "file_name", "file", "name", "id")
"""What the column of the image is called in CSV files."""
OTHERS = ("", "index", "study_id", "patient_id", "case_id", "split")
"""Columns that are no label."""
_SHORT = 3


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An image of a list.

    Attributes:
        name: As the list has it.
        labels: For each class of the set 1 or 0; None: the list does not say.
    """

    name: str
    labels: tuple[int, ...] | None = None

    @property
    def classes(self) -> tuple[int, ...]:
        """The places of its classes."""
        return tuple(place for place, label in enumerate(self.labels or ()) if label)


def read_list(path: Path, one: MedfmcSet) -> list[Entry]:
    """The entries of a list in its order.

    Raises:
        InputError: It cannot be read, or a line is not one of this set's lists; names both.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The list {path} cannot be read: {error}.") from error
    if path.suffix.lower() == ".csv":
        return _table(text, one, path=path)
    lines = enumerate(text.splitlines(), start=1)
    return [_entry(line.rstrip(), one, where=f"{path}, line {number}") for number, line in lines if line.strip()]


def _entry(line: str, one: MedfmcSet, *, where: str) -> Entry:
    found = one.line.match(line)
    if found is not None:
        return Entry(name=found["name"], labels=_labels(re.findall(r"\d", found["labels"]), one))
    last = line.rpartition(" ")[2]
    if " " in line and (one.name != "colon" or len(last) <= _SHORT):  # a name with its labels cut or wrong
        wanted = f"{len(one.classes)} times 0 or 1" if one.multi_label else f"a class from 0 to {len(one.classes) - 1}"
        raise InputError(f"{where}: '{line[-40:]}' is no line of {one.folders[1]}, where a name and {wanted} stand.")
    return Entry(name=line)


def _labels(found: Sequence[str], one: MedfmcSet) -> tuple[int, ...]:
    if one.multi_label:
        return tuple(int(label) for label in found)
    return tuple(int(place == int(found[0])) for place in range(len(one.classes)))


def _table(text: str, one: MedfmcSet, *, path: Path) -> list[Entry]:
    rows = csv.DictReader(text.splitlines())
    columns = list(rows.fieldnames or ())
    plain = {_plain(column): column for column in columns}
    name = next((plain[known] for known in NAMES if known in plain), None)
    if name is None:
        raise InputError(
            f"{path} has no column of images ({', '.join(NAMES[:4])}, ...) but {', '.join(columns[:6]) or 'nothing'}."
        )
    chosen = _label_columns(plain, one, besides=name, path=path)
    return [_row(row, name, chosen, one, where=f"{path}, row {number}") for number, row in enumerate(rows, start=2)]


def _label_columns(plain: Mapping[str, str], one: MedfmcSet, *, besides: str, path: Path) -> list[str]:
    """The columns of the classes, or the one of the class; none where there are no labels."""
    classes = [plain[_plain(known)] for known in one.classes if _plain(known) in plain]
    if len(classes) == len(one.classes):
        return classes
    rest = [column for short, column in plain.items() if column != besides and short not in OTHERS]
    if not rest or (not one.multi_label and len(rest) == 1):
        return rest
    raise InputError(
        f"{path} has the columns {', '.join(rest[:6])}, but {one.folders[1]} has the classes "
        f"{', '.join(one.classes[:3])}{', ...' if len(one.classes) > len(one.classes[:3]) else ''}."
    )


def _row(row: Mapping[str, str | None], name: str, columns: Sequence[str], one: MedfmcSet, *, where: str) -> Entry:
    cells = [(row[column] or "").strip().removesuffix(".0") for column in columns]
    known = {str(value) for value in range(2 if len(columns) > 1 else len(one.classes))}
    if not (row[name] or "").strip() or any(cell not in known for cell in cells):
        raise InputError(f"{where} has the labels {', '.join(cells)}, where each must be one of {', '.join(known)}.")
    entry = (row[name] or "").strip()
    if not columns:
        return Entry(name=entry)
    if len(columns) > 1:
        return Entry(name=entry, labels=tuple(int(cell) for cell in cells))
    return Entry(name=entry, labels=_labels(cells, one))


def _plain(column: str) -> str:
    return re.sub(r"[\s_-]+", "_", column.strip().lower())


def overlap(train: Iterable[Entry], val: Iterable[Entry]) -> list[str]:
    """Names that are in both, each once, in the order of the first."""
    others = {entry.name for entry in val}
    return list(dict.fromkeys(entry.name for entry in train if entry.name in others))

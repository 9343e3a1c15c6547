"""Tables of slides: ours, and the two files that CLAM has (slides with their labels; which slides are on which side).

slide,patient,label,split            case_id,slide_id,label            ,train,val,test
a1,A,tumour,train                    A,a1,tumour                       0,a1,b1,c1
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omlab.errors import InputError
from omlab.formats import format_cards, suffix_of
from omlab_slide.data.folds import SIDES

NAMES = {
    "slide": ("slide", "slide_id"),
    "patient": ("patient", "case_id", "patient_id", "group"),
    "label": ("label", "target", "class"),
    "split": ("split",),
    "time": ("time",),
    "event": ("event",),
}
"""What columns may be called; the first that is there counts."""
_TRUE, _FALSE = ("true", "1"), ("false", "0", "")


@dataclass(frozen=True, kw_only=True)
class SlideRow:
    """A slide.

    Attributes:
        slide: Its id (`slide_name`).
        patient: Its patient; the slide itself where the table does not say.
        label: Its class; "": not said.
        split: Its side; "": not said.
        time: Of the event, or the end of follow-up; None: not said.
        event: Whether it was the event.
        meta: All other cells.
    """

    slide: str
    patient: str
    label: str = ""
    split: str = ""
    time: float | None = None
    event: float | None = None
    meta: Mapping[str, str]


def read_slides(path: Path) -> list[SlideRow]:
    """The slides of a table.

    Raises `InputError` that names file and line: no column of slides, a slide that is there twice, no number.
    """
    columns, rows = _rows(path)
    chosen = {what: next((name for name in names if name in columns), "") for what, names in NAMES.items()}
    if not chosen["slide"]:
        raise InputError(
            f"{path}, line 1: no column is called {' or '.join(NAMES['slide'])}, but {', '.join(columns)}."
        )
    others = [name for name in columns if name and name not in chosen.values()]
    found: dict[str, SlideRow] = {}
    for line, cells in rows:
        named = {what: cells.get(name, "") if name else "" for what, name in chosen.items()}
        slide, where = slide_name(named["slide"]), f"{path}, line {line}"
        if not slide:
            raise InputError(f"{where} has no slide.")
        if slide in found:
            raise InputError(f"{where}: the slide '{slide}' is there twice.")
        found[slide] = SlideRow(
            slide=slide,
            patient=named["patient"] or slide,
            label=named["label"],
            split=named["split"],
            time=_number(named["time"], "time", where),
            event=_number(named["event"], "event", where),
            meta={name: cells.get(name, "") for name in others},
        )
    if not found:
        raise InputError(f"{path} has no slide: below the header there is no row.")
    return list(found.values())


def read_sides(path: Path) -> dict[str, str]:
    """The side of each slide in one of CLAM's files of splits: lists of slides, or a row a slide with true and false.

    Raises `InputError` where it is neither, or a slide lies on two sides.
    """
    columns, rows = _rows(path)
    sides = [name for name in columns if name in SIDES]
    if "train" not in sides:
        raise InputError(f"{path}, line 1: there is no column 'train' among {', '.join(columns)}.")
    values = {cells.get(side, "").lower() for _, cells in rows for side in sides}
    is_table = values <= {*_TRUE, *_FALSE} and bool(values & {"true", "false"})
    found: dict[str, str] = {}
    for line, cells in rows:
        for side in sides:
            cell = cells.get(side, "")
            slide = (cells.get(columns[0], "") if cell.lower() in _TRUE else "") if is_table else cell
            slide = slide_name(slide)
            if slide and found.setdefault(slide, side) != side:
                raise InputError(f"{path}, line {line}: the slide '{slide}' is in {found[slide]} and in {side}.")
    return found


def slide_name(cell: str) -> str:
    """The id of a slide in a cell that may name its file, or its bag's: `slides/a1.svs` is `a1`."""
    name = cell.replace("\\", "/").rstrip("/").rpartition("/")[2]
    suffix = suffix_of(Path(name), [card for card in format_cards() if {"slide", "bag"} & {*card.reads}])
    return name[: len(name) - len(suffix)]


def torn(rows: Sequence[SlideRow], sides: Mapping[str, str]) -> list[str]:
    """Patients whose slides lie on several sides."""
    where: dict[str, set[str]] = {}
    for row in rows:
        if row.slide in sides:
            where.setdefault(row.patient, set()).add(sides[row.slide])
    return [f"'{name}' ({', '.join(sorted(found))})" for name, found in where.items() if len(found) > 1]


def _rows(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Column names and rows, with their lines, of a CSV file; cells without the space around them."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True, skipinitialspace=True)
            columns = [name.strip() for name in next(reader, [])]
            rows = [
                (reader.line_num, {name: cell.strip() for name, cell in zip(columns, cells, strict=False)})
                for cells in reader
                if any(cell.strip() for cell in cells)
            ]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is no CSV file in UTF-8 ({error}).") from None
    if len(columns) < 2:
        raise InputError(f"{path} is no table: a CSV file begins with a line of column names, with commas between.")
    return columns, rows


def _number(cell: str, what: str, where: str) -> float | None:
    if not cell:
        return None
    try:
        return float(cell)
    except ValueError:
        raise InputError(f"{where}: the {what} is '{cell}', which is no number.") from None

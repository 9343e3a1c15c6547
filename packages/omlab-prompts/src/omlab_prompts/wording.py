"""What is wrong with the content of a prompts file, in words of prompts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

_ENTRIES = {"objects": "object", "points": "point", "boxes": "box", "masks": "mask", "text": "text"}
_PLACES = ("at", "near", "far")
_TEXT = "must be a text that is not empty"
_WANTED = {
    "label": "must be 1 (in the object) or 0 (outside it)",
    "space": "must be voxel, ras, lps or pixel",
    "version": "must be 1",
    "value": "must be a whole number from 1",
    "file": _TEXT,
    "name": _TEXT,
    "image": _TEXT,
    "size": "must be two whole numbers from 1, width and height",
}


def what_is_wrong(error: ValidationError, content: Any) -> str:
    """The first thing that is wrong with `content`, which pydantic refused: a part of a sentence."""
    row = error.errors(include_url=False)[0]
    entry, field = _split(row["loc"])
    type = row["type"] if len(row["loc"]) <= len(entry) + 1 else "part"  # of a field, such as the third number of `at`
    value = _at(content, (*entry, *field))
    if field and field[0] in _PLACES and type not in ("value_error", "missing"):
        said = wrong_numbers(str(field[0]), value, space=_at(content, ("space",)))
    else:
        said = _said(type, row["msg"], field=field, value=value)
    names_itself = row["type"] == "value_error" and len(entry) == 2 and not field  # an object, by its name
    return said if not entry or names_itself else f"{_place(entry, content)}: {said}"


def wrong_numbers(field: str, value: Any, *, space: Any) -> str:
    """That a place has not as many numbers as its space has axes."""
    return f"'{field}' must be {'two' if space == 'pixel' else 'three'} finite numbers, not {brief(value)}"


def brief(value: Any) -> str:
    """A JSON value as a message shows it."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _split(loc: Sequence[int | str]) -> tuple[tuple[int | str, ...], tuple[int | str, ...]]:
    """The entry (`objects, 0, points, 3`) that a location is in, and the field of it (`at`)."""
    depth = 0
    while depth + 1 < len(loc) and loc[depth] in _ENTRIES and isinstance(loc[depth + 1], int):
        depth += 2
    return tuple(loc[:depth]), tuple(loc[depth : depth + 1])


def _place(entry: Sequence[int | str], content: Any) -> str:
    words = [f"{_ENTRIES[str(kind)]} {int(number) + 1}" for kind, number in zip(entry[::2], entry[1::2], strict=True)]
    holder = _at(content, entry[:2])
    name = holder.get("name") if isinstance(holder, dict) else None
    if isinstance(name, str) and name.strip():
        words[0] = f"'{name.strip()}'"
    return " of ".join(reversed(words))


def _said(type: str, message: str, *, field: Sequence[int | str], value: Any) -> str:
    if type == "value_error":
        return message.removeprefix("Value error, ")
    name = str(field[0]) if field else ""
    if not name:
        wanted = _TEXT if type.startswith("string") else "must be a group of fields in braces"
        return f"{wanted}, not {brief(value)}"
    if type == "missing":
        return f"'{name}' is missing"
    if type == "extra_forbidden":
        return f"there is no field '{brief(name)[1:-1]}'"
    if name in _WANTED:
        return f"'{name}' {_WANTED[name]}, not {brief(value)}"
    return f"there are no {name}" if type == "too_short" else f"'{name}' must be a list, not {brief(value)}"


def _at(content: Any, loc: Sequence[int | str]) -> Any:
    for key in loc:
        try:
            content = content[key]
        except (KeyError, IndexError, TypeError):
            return None
    return content

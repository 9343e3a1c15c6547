"""What is wrong with a card, in words, and in which line of its file: what the author of a plugin reads most often."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any

from omlab.cards import SHARED, Card
from omlab.suggest import did_you_mean

Place = tuple[str, ...]
"""The keys that lead from a card to a part of it; entries of a list are counted from 0."""

_TABLE = re.compile(r"\s*(\[\[?)([^\]]+)\]")
_KEY = re.compile(r"""\s*((?:[\w.-]|"[^"]*")+)\s*=\s*(.*)""")
_PART = re.compile(r"""[\w-]+|"[^"]*\"""")
_LONGEST = 40
_SHARED = ""  # in a place: what follows stands in the file's shared settings


def problems(card: Card, errors: Sequence[Mapping[str, Any]], *, schema: Mapping[str, Any]) -> str:
    """The wrong fields of a card, as the end of a sentence.

    Args:
        card: As its plugin gave it.
        errors: What pydantic found (`ValidationError.errors()`).
        schema: JSON Schema of the card's kind.
    """
    rows = [(tuple(str(part) for part in error["loc"]), error) for error in errors]
    missing = {place for place, error in rows if error["type"] == "missing"}
    said: dict[Place, str] = {}
    for place, error in rows:
        if error["type"] == "extra_forbidden":
            hint = did_you_mean(place[-1], _fields(schema, place[:-1]), none="there is none.")
            said[place] = f"is no field, {hint.rstrip('.')}"
            missing -= {absent for absent in missing if absent[:-1] == place[:-1] and f"'{absent[-1]}'" in hint}
        elif error["type"] != "missing":
            said[place] = _words(error)
    said |= dict.fromkeys(sorted(missing), "is missing")
    parts = list(_parts(_text(card), card))
    return "; ".join(f"{_line(parts, place)}{'.'.join(place) or 'the card'} {words}" for place, words in said.items())


def _words(error: Mapping[str, Any]) -> str:
    """What pydantic says: our own validators' sentences as they are, its own with what was found."""
    if error["type"] == "value_error":
        return f"is wrong: {error['ctx']['error']}"
    found = repr(error["input"])
    shown = f", not {found}" if len(found) <= _LONGEST else ""
    return f"is wrong: {error['msg'][0].lower()}{error['msg'][1:]}{shown}"


def _fields(schema: Mapping[str, Any], place: Place) -> list[str]:
    """The fields that a part of a card has."""
    part: Any = schema
    for key in place:
        named = part.get("properties", {}).get(key)
        part = named or part.get("items") or next(iter(part.get("patternProperties", {}).values()), {})
        if "$ref" in part:
            part = schema["$defs"][part["$ref"].rpartition("/")[2]]
    return list(part.get("properties", ()))


def _text(card: Card) -> str:
    """The file that a card stands in; empty where it cannot be had again."""
    package, _, file = card.source.rpartition("/")
    try:
        return resources.files(package).joinpath(file).read_text(encoding="utf-8")
    except (ImportError, OSError, TypeError, ValueError):
        return ""


def _line(parts: Sequence[tuple[int, Place]], place: Place) -> str:
    """Where a part of a card stands, be it in a table of shared settings, or else where it would have to be."""
    places = [place]
    places += [(_SHARED, *place[n:]) for n, key in enumerate(place, start=1) if key in ("settings", "options")]
    for short in range(len(place) + 1):
        for wanted in (whole[: len(whole) - short] for whole in places):
            for number, found in parts:
                if wanted not in ((), (_SHARED,)) and found[: len(wanted)] == wanted:
                    return f"line {number}: "
    return next((f"line {number}: " for number, found in parts if found == ()), "")


def _parts(text: str, card: Card) -> Iterator[tuple[int, Place]]:
    """Line and place of each table and key of a card, by a look at the lines: tomllib does not tell where it was."""
    belongs, inside, table, counts = False, False, Place(), dict[Place, int]()
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        if header := _TABLE.match(line):
            kind, *path = (part.strip('"') for part in _PART.findall(header[2]))
            table = (_SHARED, *path) if kind == SHARED else tuple(path)
            if not path:
                inside, counts = kind == card.kind and _name_below(lines[number:]) == card.name, {}
            elif header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, str(counts[table]))
            belongs = kind == SHARED or (inside and kind == card.kind)
            if belongs:
                yield number, table
        elif belongs and (key := _KEY.match(line)):
            yield number, (*table, *(part.strip('"') for part in _PART.findall(key[1])))


def _name_below(lines: Sequence[str]) -> str:
    """The name of the card whose table begins above these lines."""
    for line in lines:
        if _TABLE.match(line):
            break
        if (key := _KEY.match(line)) and key[1] == "name":
            return key[2].partition("#")[0].strip().strip("\"'")
    return ""

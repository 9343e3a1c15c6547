"""Files of texts and chats: JSON lines, a JSON list, plain text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from omlab.errors import InputError
from omlab.json_lines import json_object
from omlab.payloads import Inputs, Payload
from omlab_payloads.lines import Line, Stamp, place_of, places, read_lines, stamp_of
from omlab_text.chat import Chat
from omlab_text.criteria import Criteria
from omlab_text.options import Likelihoods, Options
from omlab_text.ranked import Ranking
from omlab_text.rows import id_of
from omlab_text.text import Text

_KINDS: Mapping[str, Any] = {each.kind: each for each in (Text, Chat, Options, Likelihoods, Criteria, Ranking)}
_DIGITS = 6
"""Of the number of a row without an id, so that rows in the order of their ids are in that of the file."""


class Lines:
    """The format `chats`: JSON lines, a row of `omlab_text.rows` each. A row without an id is called by its line."""

    def index(self, path: Path) -> Sequence[str]:
        """The ids in the file's order. Raises `InputError` for a line that is no such row, or an id that is twice."""
        found = tuple(places(path, _find))
        if not found:
            raise InputError(f"{path} holds no row.")
        return found

    def read(self, path: Path, *, kind: str, key: str | None = None) -> Payload:
        """The payload with the id `key`, or the only one. Raises `InputError` that names the file and the row."""
        start = place_of(path, key, places(path, _find))
        line = next(read_lines(path, start=start), Line(start, start, ""))
        number = _number(path, start)
        return _made(json_object(line.text.encode(), path=path, number=number), kind, f"{path}, line {number}")

    def write(self, payload: Payload, path: Path, *, inputs: Inputs) -> None:
        """A file of one row, whose id is the file's name."""
        self.collect([(path.name.removesuffix(path.suffix), self.pack(payload))], path)

    def pack(self, payload: Payload) -> bytes:
        """The row of one case."""
        assert isinstance(payload, Text | Chat | Options | Likelihoods | Criteria | Ranking)
        return json.dumps(payload.to_value(), ensure_ascii=False).encode("utf-8", "backslashreplace")

    def collect(self, records: Iterable[tuple[str, bytes]], path: Path) -> None:
        """Write a line for each record, in their order."""
        with path.open("wb") as stream:
            for id, record in records:
                stream.write(b'{"id": ' + json.dumps(id).encode() + b", " + record[1:] + b"\n")


class List:
    """The format `chat-list`: a JSON file with a row, or a list of rows."""

    def index(self, path: Path) -> Sequence[str]:
        """The ids in the file's order. Raises `InputError` that names the file."""
        return tuple(_rows(stamp_of(path)))

    def read(self, path: Path, *, kind: str, key: str | None = None) -> Payload:
        """The chat with the id `key`, or the only one. Raises `InputError` that names the file and the row."""
        rows = _rows(stamp_of(path))
        number = place_of(path, key, {id: place for place, id in enumerate(rows)})
        return _made(list(rows.values())[number], kind, f"{path}, row {number + 1}")


class PlainText:
    """The format `plain-text`: the whole file is a text, or the one question of a chat."""

    def read(self, path: Path, *, kind: str) -> Payload:
        """The text or the question. Raises `InputError` that names the file."""
        return _made("".join(line.text for line in read_lines(path)), kind, str(path))

    def write(self, payload: Payload, path: Path, *, inputs: Inputs) -> None:
        """The text as it is."""
        assert isinstance(payload, Text)
        path.write_bytes(payload.text.encode("utf-8", "backslashreplace"))


def _made(value: Any, kind: str, where: str) -> Payload:
    try:
        made: Payload = _KINDS[kind].from_value(value)
        return made
    except InputError as error:
        raise InputError(f"{where} cannot be used: {error}") from None


def _find(path: Path) -> Iterator[tuple[str, int]]:
    for number, line in enumerate(read_lines(path), start=1):
        if line.text.strip():
            row = json_object(line.text.strip().encode(), path=path, number=number)
            yield _id(row, number, f"{path}, line {number}"), line.begin


def _id(row: dict[str, Any], number: int, where: str) -> str:
    try:
        return id_of(row) or f"{number:0{_DIGITS}d}"
    except InputError as error:
        raise InputError(f"{where} cannot be used: {error}") from None


def _number(path: Path, start: int) -> int:
    """The number of the line that begins at a byte: only looked for where a sentence may have to name it."""
    return _line_numbers(stamp_of(path))[start]


@lru_cache(maxsize=8)
def _line_numbers(stamp: Stamp) -> dict[int, int]:
    return {line.begin: number for number, line in enumerate(read_lines(stamp.path), start=1)}


@lru_cache(maxsize=4)
def _rows(stamp: Stamp) -> dict[str, Any]:
    path = stamp.path
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text.") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}.") from None
    rows = found if isinstance(found, list) and not _is_messages(found) else [found]
    by_id: dict[str, Any] = {}
    for number, row in enumerate(rows, start=1):
        where = f"{path}, row {number}"
        id = _id(row if isinstance(row, dict) else {}, number, where)
        if id in by_id:
            raise InputError(f"{path} has two entries with the id '{id}'.")
        by_id[id] = row
    if not by_id:
        raise InputError(f"{path} holds no row.")
    return by_id


def _is_messages(rows: list[Any]) -> bool:
    """Whether a list is the messages of one chat, not a list of chats."""
    return bool(rows) and all(isinstance(row, dict) and "role" in row for row in rows)

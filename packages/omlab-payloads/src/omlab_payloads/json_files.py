"""JSON: one payload a file (`json`), or one a line with the id of its case (`jsonl`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from omlab.errors import InputError, UsageError
from omlab.payloads import Inputs, Payload
from omlab_payloads.checked import brief
from omlab_payloads.kinds import LONE, class_of, stem
from omlab_payloads.lines import Line, place_of, places, read_lines


class JsonFile:
    """The format `json`: `{"kind": "boxes", "space": "voxel", "boxes": [...]}`."""

    def read(self, path: Path, *, kind: str) -> Payload:
        """The payload of a file. Raises `InputError` that names it."""
        return _payload("".join(line.text for line in read_lines(path)), kind=kind, where=str(path))

    def write(self, payload: Payload, path: Path, *, inputs: Inputs) -> None:
        """One payload, indented for readers."""
        path.write_text(json.dumps(_value(payload), indent=2, ensure_ascii=False) + "\n", encoding="utf-8", errors=LONE)


class JsonLines:
    """The format `jsonl`: the object of `json` with an `id`, a case a line."""

    def index(self, path: Path) -> Sequence[str]:
        """The ids in the file's order. Raises `InputError` for a line that is no entry, or an id that is twice."""
        return tuple(places(path, _find))

    def read(self, path: Path, *, kind: str, key: str | None = None) -> Payload:
        """The payload with the id `key`, or the only one. Raises `InputError` that names the file."""
        start = place_of(path, key, places(path, _find))
        line = next(read_lines(path, start=start), Line(start, start, ""))
        return _payload(line.text, kind=kind, where=f"{path}, entry '{key}'" if key is not None else str(path))

    def write(self, payload: Payload, path: Path, *, inputs: Inputs) -> None:
        """A file of one line, whose id is the file's name."""
        self.collect([(stem(path), self.pack(payload))], path)

    def pack(self, payload: Payload) -> bytes:
        """The record of one case."""
        return json.dumps(_value(payload), ensure_ascii=False).encode("utf-8", LONE)

    def collect(self, records: Iterable[tuple[str, bytes]], path: Path) -> None:
        """Write a line for each record, in their order."""
        with path.open("wb") as stream:
            for id, record in records:
                stream.write(b'{"id": ' + json.dumps(id).encode() + b", " + record[1:] + b"\n")


def _value(payload: Payload) -> dict[str, Any]:
    class_of(payload.kind)
    value: dict[str, Any] = payload.to_value()  # type: ignore[attr-defined]  # every class of this package has it
    return {"kind": payload.kind, **value}


def _payload(text: str, *, kind: str, where: str) -> Payload:
    value = _parsed(text, where=where)
    said = value.get("kind", kind) if isinstance(value, dict) else kind
    if said != kind:
        raise InputError(f"{where} holds {brief(said)[1:-1]}, but {kind} is needed.")
    try:
        payload: Payload = class_of(kind).from_value(value)
    except UsageError as error:
        raise InputError(f"{where} cannot be used: {error}") from None
    return payload


def _parsed(text: str, *, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        why = f"it ends or goes wrong at line {error.lineno}, column {error.colno}"
    except (ValueError, RecursionError):
        why = "a number is too long, or lists lie too deep in each other"
    raise InputError(f"{where} is not JSON: {why}.")


def _find(path: Path) -> Iterator[tuple[str, int]]:
    for number, line in enumerate(read_lines(path), start=1):
        if not line.text.strip():
            continue
        value = _parsed(line.text, where=f"{path}, line {number}")
        id = value.get("id") if isinstance(value, dict) else None
        if not isinstance(id, str):
            raise InputError(f"{path}, line {number} has no 'id' that is a text.")
        yield id, line.begin

"""The judge's replies, each stored once: JSON lines that several processes may append to at the same time.

A line has `set`, `item` (number from 0), `first`, `second`, `judge`, `prompt` (digest of what the judge was told)
and `reply`; these but the reply are its key. Further fields say when it was asked and what it took.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omlab.errors import InputError
from omlab.files import writing
from omlab.json_lines import read_json_lines


@dataclass(frozen=True, kw_only=True)
class Key:
    """What a reply is to: which judge was asked what, about whom in which seats."""

    set: str
    item: int
    first: str
    second: str
    judge: str
    prompt: str


class ReplyStore:
    """A file of replies. Appending is atomic (a lock, one write, fsync); a torn last line is cut off."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._replies: dict[Key, str] = {}
        self._read_to = 0
        self._guard = threading.Lock()
        with writing("The store of replies", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        with self._guard, self._locked() as stream:
            self._catch_up(stream)

    def get(self, key: Key) -> str | None:
        """The reply to `key`, also where another process has stored it meanwhile; None: not asked yet."""
        with self._guard:
            if key not in self._replies and self.path.stat().st_size != self._read_to:
                with self._locked() as stream:
                    self._catch_up(stream)
            return self._replies.get(key)

    def add(self, key: Key, reply: str, **more: Any) -> str:
        """Store a reply; gives the one that counts: where another process was faster, that one's."""
        line = json.dumps({**vars(key), "reply": reply, **more}, ensure_ascii=False) + "\n"
        with self._guard, writing("A reply", self.path), self._locked() as stream:
            self._catch_up(stream)
            if key not in self._replies:
                data = line.encode("utf-8", "replace")
                done = 0
                while done < len(data):  # a disk that fills up takes a part, and refuses the rest
                    done += os.pwrite(stream, data[done:], self._read_to + done)
                os.fsync(stream)
                self._catch_up(stream)
            return self._replies[key]

    @contextmanager
    def _locked(self) -> Iterator[int]:
        stream = os.open(self.path, os.O_RDWR)
        try:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield stream
        finally:
            os.close(stream)

    def _catch_up(self, stream: int) -> None:
        """Read what is new. Whoever holds the lock is the only writer: an unfinished line is a dead process's."""
        size = os.fstat(stream).st_size
        if size < self._read_to:
            raise InputError(f"{self.path} has become shorter while it was in use; is something else writing to it?")
        new = b""
        while len(new) < size - self._read_to:
            block = os.pread(stream, size - self._read_to - len(new), self._read_to + len(new))
            if not block:
                break
            new += block
        whole = new[: new.rfind(b"\n") + 1]
        if len(whole) < len(new):
            os.ftruncate(stream, self._read_to + len(whole))
        before = len(self._replies)
        for number, line in enumerate(whole.splitlines(), start=1):
            if line.strip():
                where = f"{self.path}, stored line {before + number}"
                try:
                    row = json.loads(line)
                except ValueError:
                    raise InputError(f"{where} is not JSON.") from None
                self._replies.setdefault(Key(**_key_fields(row, where)), row["reply"])
        self._read_to += len(whole)


def _key_fields(row: Any, where: str) -> dict[str, Any]:
    wanted: Mapping[str, type] = {
        "set": str, "item": int, "first": str, "second": str, "judge": str, "prompt": str, "reply": str,
    }  # fmt: skip
    for field, kind in wanted.items():
        if not isinstance(row, dict) or not isinstance(row.get(field), kind) or isinstance(row[field], bool):
            raise InputError(f"{where}: the field '{field}' is missing or of the wrong type.")
    return {field: row[field] for field in wanted if field != "reply"}


class Recorded:
    """Replies recorded before: a file or a folder of JSON lines, read only.

    A line needs `set`, `item`, `first`, `second` and `reply`. `draw` counts repetitions of the same battle (0, 1, ...);
    one without a line of its own takes that of 0. `judge` and `prompt` are as in the store.
    """

    def __init__(self, path: Path, *, judge: str = "") -> None:
        self.path = path
        self.files = sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]
        self.judges: dict[str, None] = {}
        self._replies: dict[tuple[str, int, str, str, int], tuple[str, str]] = {}
        lines: dict[tuple[str, int, str, str, int], str] = {}
        if not self.files:
            raise InputError(f"{path} holds no recorded replies: they are .jsonl files.")
        for file in self.files:
            for number, row in read_json_lines(file):
                where = f"{file}, line {number}"
                fields = _key_fields({"judge": "", "prompt": ""} | row, where)
                draw = row.get("draw", 0)
                if not isinstance(draw, int) or draw < 0:
                    raise InputError(f"{where}: 'draw' must be 0, 1, ..., not {draw!r:.40}.")
                if judge and fields["judge"] != judge:
                    continue
                self.judges[fields["judge"]] = None
                key = (fields["set"], fields["item"], fields["first"], fields["second"], draw)
                if key in lines and len(self.judges) == 1:
                    raise InputError(f"{where} is a second reply to the battle of {lines[key]}.")
                lines[key] = where
                self._replies[key] = (row["reply"], fields["prompt"])
        if len(self.judges) > 1:
            names = ", ".join(repr(name) for name in self.judges)
            raise InputError(f"{path} holds replies of several judges ({names}): choose one with --judge-model.")
        if not self._replies:
            raise InputError(f"{path} holds no recorded replies{f' of {judge!r}' if judge else ''}.")

    def get(self, set: str, item: int, first: str, second: str, draw: int) -> tuple[str, str] | None:
        """The reply and the digest of its prompt ('' where not recorded); None where there is none."""
        return self._replies.get((set, item, first, second, draw)) or self._replies.get((set, item, first, second, 0))

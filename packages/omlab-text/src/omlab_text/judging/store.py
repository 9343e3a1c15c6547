"""A judge's replies, each stored once: JSON lines that several processes may append to at the same time.

A line has the fields of its key and `reply`. Further fields say when it was asked and what it took.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_type_hints

from omlab.errors import InputError
from omlab.files import writing

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    K = TypeVar("K", bound=DataclassInstance)
else:
    K = TypeVar("K")

REPLY = "reply"


class ReplyStore(Generic[K]):
    """A file of replies. Appending is atomic (a lock, one write, fsync); a torn last line is cut off.

    Args:
        path: The file; it is made where there is none.
        key: What a reply is to: a frozen dataclass of texts and whole numbers.
    """

    def __init__(self, path: Path, key: type[K]) -> None:
        self.path = path
        self._key = key
        self._replies: dict[K, str] = {}
        self._read_to = 0
        self._guard = threading.Lock()
        with writing("The store of replies", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        with self._guard, self._locked() as stream:
            self._catch_up(stream)

    def get(self, key: K) -> str | None:
        """The reply to `key`, also where another process has stored it meanwhile; None: not asked yet."""
        with self._guard:
            if key not in self._replies and self.path.stat().st_size != self._read_to:
                with self._locked() as stream:
                    self._catch_up(stream)
            return self._replies.get(key)

    def add(self, key: K, reply: str, **more: Any) -> str:
        """Store a reply; gives the one that counts: where another process was faster, that one's."""
        line = json.dumps({**asdict(key), REPLY: reply, **more}, ensure_ascii=False) + "\n"
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
                self._replies.setdefault(key_in(row, self._key, where=where), row[REPLY])
        self._read_to += len(whole)


def key_in(row: Any, key: type[K], *, where: str) -> K:
    """The key of a stored or recorded reply. Raises `InputError` where a field of it, or the reply, is wrong."""
    kinds = get_type_hints(key)
    wanted = {field.name: kinds[field.name] for field in fields(key)} | {REPLY: str}
    for name, kind in wanted.items():
        if not isinstance(row, dict) or not isinstance(row.get(name), kind) or isinstance(row[name], bool):
            raise InputError(f"{where}: the field '{name}' is missing or of the wrong type.")
    return key(**{name: row[name] for name in wanted if name != REPLY})

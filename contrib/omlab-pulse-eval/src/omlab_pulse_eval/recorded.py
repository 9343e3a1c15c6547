"""Replies of judges: what each is to, and those that were recorded before.

A line of the store, or of a recording, has `set`, `item` (number from 0), `first`, `second`, `judge`, `prompt` (digest
of what the judge was told) and `reply`; these but the reply are its key.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omlab.errors import InputError
from omlab.json_lines import read_json_lines
from omlab_text.judging.store import key_in


@dataclass(frozen=True, kw_only=True)
class Key:
    """What a reply is to: which judge was asked what, about whom in which seats."""

    set: str
    item: int
    first: str
    second: str
    judge: str
    prompt: str


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
                found = key_in({"judge": "", "prompt": ""} | row, Key, where=where)
                draw = row.get("draw", 0)
                if not isinstance(draw, int) or draw < 0:
                    raise InputError(f"{where}: 'draw' must be 0, 1, ..., not {draw!r:.40}.")
                if judge and found.judge != judge:
                    continue
                self.judges[found.judge] = None
                key = (found.set, found.item, found.first, found.second, draw)
                if key in lines and len(self.judges) == 1:
                    raise InputError(f"{where} is a second reply to the battle of {lines[key]}.")
                lines[key] = where
                self._replies[key] = (row["reply"], found.prompt)
        if len(self.judges) > 1:
            names = ", ".join(repr(name) for name in self.judges)
            raise InputError(f"{path} holds replies of several judges ({names}): choose one with --judge-model.")
        if not self._replies:
            raise InputError(f"{path} holds no recorded replies{f' of {judge!r}' if judge else ''}.")

    def get(self, set: str, item: int, first: str, second: str, draw: int) -> tuple[str, str] | None:
        """The reply and the digest of its prompt ('' where not recorded); None where there is none."""
        return self._replies.get((set, item, first, second, draw)) or self._replies.get((set, item, first, second, 0))

"""Who follows a page, command by command."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Do = Callable[[Path], Any]
SERVER = r"http://127\.0\.0\.1:8000/v1|\bURL\b"
"""How the pages call a server's address."""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """What a reader of a page has and does.

    Attributes:
        files: Makes the files that the page speaks of, in a folder.
        instead: Regular expressions in commands and Python, and what stands in for them, one after the other.
        between: What the reader does before the first command that begins so.
        left: Beginnings of commands that no test runs, and why.
        fails: Beginnings of commands that end with status 1, as the page says.
        serves: What a server at `SERVER` answers to the body of a request; None: no command asks one.
        typed: The lines that are typed where a command asks.
        given: The names that the page's Python takes as given.
    """

    files: Do
    instead: Sequence[tuple[str, str]] = ()
    between: Mapping[str, Do] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)
    fails: Sequence[str] = ()
    serves: Callable[[Mapping[str, Any]], str] | None = None
    typed: str = ""
    given: Callable[[], Mapping[str, Any]] = dict

    def leaves(self, command: str) -> bool:
        """Whether no test runs the command."""
        return command.startswith(tuple(self.left))

    def in_place(self, text: str, *, server: str) -> str:
        """What is run in place of a command, or of Python; `server` is the address that stands in for the page's."""
        for pattern, other in (*self.instead, (SERVER, server)):
            text = re.sub(pattern, other, text)
        return text


def written(path: Path, *lines: str) -> Path:
    """A text of these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path

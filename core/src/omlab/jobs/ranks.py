"""Several processes of one job, as torchrun starts them: rank 0 owns the run, the others wait for its go.

Ranks above 0 never open, rename or log a run. They are told where its work folder is by a small file beside it, and
stop when rank 0, or what started them, is gone.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omlab.digests import digest_of
from omlab.errors import OmlabError
from omlab.files import write_json

_PATIENCE = 0.1


@contextmanager
def leading(output: Path | None) -> Iterator[Go]:
    """For rank 0: tell the others where to work; told that there is nothing to do where this ends without a word."""
    go = Go(_place(output))
    try:
        yield go
    finally:
        if not go.said:
            go.nothing()


class Go:
    """The word that the other ranks wait for."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.said = "WORLD_SIZE" not in os.environ

    def work_in(self, folder: Path) -> None:
        """Let the other ranks work in `folder`."""
        self._say({"folder": str(folder)})

    def nothing(self) -> None:
        """Let the other ranks end."""
        self._say({"folder": None})

    def _say(self, word: dict[str, Any]) -> None:
        if not self.said:
            self.said = True
            write_json(self.place, word)


def wait_for_go(output: Path | None) -> Path | None:
    """For ranks above 0: the folder to work in; None: there is nothing to do.

    Raises `OmlabError` where what started this process is gone.
    """
    place, parent = _place(output), os.getppid()
    while True:
        if place.is_file():
            folder = json.loads(place.read_text(encoding="utf-8"))["folder"]
            return Path(folder) if folder else None
        if os.getppid() != parent:
            raise OmlabError("Rank 0 ended before the work began.")
        time.sleep(_PATIENCE)


def _place(output: Path | None) -> Path:
    """The file of this start: of the same launcher, port and attempt for all ranks."""
    names = ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT")
    start: list[Any] = [os.environ.get(name) for name in names]
    if os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE"):
        start.append(os.getppid())
    folder = output.absolute().parent if output is not None else Path("omlab-runs")
    return folder / f".omlab-go-{digest_of(start)[:12]}"

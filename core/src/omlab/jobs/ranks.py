"""Several processes of one job, as torchrun starts them: rank 0 owns the run, the others wait for its go.

Ranks above 0 never open, rename or log a run. Rank 0's word passes through the store that torchrun keeps for its
processes: nothing is written, and nothing is left of an earlier start.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from omlab.errors import OmlabError, UsageError
from omlab.shards import processes

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]  # torch's stubs do not export it

_PATIENCE = 0.1
_NOTHING = "-"


@contextmanager
def leading() -> Iterator[Go]:
    """For rank 0: tell the others to work along; told that there is nothing to do where this ends without a word."""
    go = Go(_store() if processes() > 1 else None)
    try:
        yield go
    finally:
        go.nothing()


class Go:
    """The word that the other ranks wait for. Only the first word counts."""

    def __init__(self, store: Store | None) -> None:
        self._store = store

    def work_in(self, folder: Path) -> None:
        """Let the other ranks work in `folder`."""
        self._say(str(folder.absolute()))

    def nothing(self) -> None:
        """Let the other ranks end."""
        self._say(_NOTHING)

    def _say(self, word: str) -> None:
        if self._store is not None:
            self._store.set(_key(), word)
            self._store = None


def wait_for_go() -> Path | None:
    """For ranks above 0: the folder to work in; None: there is nothing to do.

    Raises `OmlabError` where what started this process is gone.
    """
    store = _store()
    try:
        while not store.check([_key()]):
            time.sleep(_PATIENCE)
        word = store.get(_key()).decode()
    except RuntimeError as error:  # torch's of a connection that is lost
        raise OmlabError("Rank 0 ended before the work began.") from error
    return None if word == _NOTHING else Path(word)


def _store() -> Store:
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        raise UsageError(
            "Several processes of one job are started with torchrun: torchrun --nproc-per-node 2 -m omlab ..."
        )
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return TCPStore(address, port, is_master=False, wait_for_workers=False, timeout=timedelta(minutes=5))


def _key() -> str:
    """Of this attempt: torchrun keeps its store when it starts the processes again."""
    return f"omlab/go/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"

"""Which part of a run this process does, all that core knows of clusters: `OMLAB_SHARD=i/n`, or torchrun's rank."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from omlab.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Part `index` (from 0) of `count`."""

    index: int = 0
    count: int = 1

    @property
    def name(self) -> str:
        """As file names have it; empty for the whole."""
        return f"-{self.index}-of-{self.count}" if self.count > 1 else ""

    def holds(self, id: str) -> bool:
        """Whether a case of that id is in this part: by its sha256, so that no part needs to know the others."""
        if self.count == 1:
            return True
        return int.from_bytes(hashlib.sha256(id.encode()).digest()[:8], "big") % self.count == self.index


def this_shard() -> Shard:
    """The part that `OMLAB_SHARD` names; the whole where it is not set. Raises `UsageError`."""
    text = os.environ.get("OMLAB_SHARD", "").strip()
    if not text:
        return Shard()
    index, slash, count = text.partition("/")
    if not (slash and index.isdigit() and count.isdigit() and int(index) < int(count)):
        raise UsageError(f"OMLAB_SHARD is '{text}', but must be I/N with I from 0 to N-1, such as 0/4.")
    return Shard(index=int(index), count=int(count))


def rank() -> int:
    """This process among those that torchrun started; 0 without it."""
    return int(os.environ.get("RANK", "0") or 0) if "LOCAL_RANK" in os.environ else 0


def processes() -> int:
    """How many processes torchrun started for this job; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1") or 1) if "LOCAL_RANK" in os.environ else 1

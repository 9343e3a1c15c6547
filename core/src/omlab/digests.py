"""Digests of files and of requests: what the run log is judged by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from omlab import progress

_BLOCK = 1 << 20
_LARGE = 200 << 20


def file_digest(path: Path) -> str:
    """sha256 of a file; of a folder, over the names and digests of all files in it."""
    if path.is_dir():
        return digest_of([(str(p.relative_to(path)), file_digest(p)) for p in sorted(path.rglob("*")) if p.is_file()])
    digest = hashlib.sha256()
    with path.open("rb") as stream, _shown(path) as advance:
        while block := stream.read(_BLOCK):
            digest.update(block)
            advance(len(block))
    return digest.hexdigest()


def _shown(path: Path) -> AbstractContextManager[progress.Advance]:
    """A bar for a file that takes more than a moment."""
    size = path.stat().st_size
    return progress.bar(f"checking {path.name}", total=size) if size > _LARGE else nullcontext(progress.nothing)


def paths_digest(paths: Iterable[Path]) -> str:
    """One digest for several files, in their order; names do not count."""
    return digest_of([file_digest(path) for path in paths])


def digest_of(value: Any) -> str:
    """sha256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()

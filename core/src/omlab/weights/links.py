"""Whether published weights are still where their cards say."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING, Literal
from urllib.error import HTTPError

from omlab import progress
from omlab.errors import OmlabError
from omlab.weights import download, hub, sources
from omlab.weights.http import GoneError, RefusedError, TransientError, failure, is_page

if TYPE_CHECKING:
    from omlab.card_schema import WeightsFile
    from omlab.weights.entries import Entry

State = Literal["ok", "gone", "other size", "refused", "no answer"]

_AT_ONCE = 8
_ATTEMPTS = 2


@dataclass(frozen=True, kw_only=True)
class Link:
    """What became of one link. `size`: in bytes, where the server says it; `detail`: one sentence, or nothing."""

    name: str
    what: str
    url: str
    state: State
    size: int | None = None
    detail: str = ""


def check(entries: Sequence[Entry]) -> list[Link]:
    """Ask for every file and repository of `entries`, in their order; nothing is kept.

    A file is asked for its first byte, as a download would ask. `refused` is what needs an account or is over a
    quota; `no answer` is what says nothing of the file itself, such as a lost connection.
    """
    with (
        ThreadPoolExecutor(_AT_ONCE) as pool,
        progress.bar("asking for links", total=len(entries)) as advance,
    ):
        found = []
        for link in pool.map(_check, entries):
            found.append(link)
            advance()
    return found


def _check(entry: Entry) -> Link:
    state: State = "ok"
    size, detail = None, ""
    try:
        size = _size(entry)
        wanted = entry.file.size if entry.file is not None else None
        if None not in (size, wanted) and size != wanted:
            state, detail = "other size", f"{size} bytes are offered, and the card says {wanted}."
    except RefusedError as error:
        state, detail = "refused", str(error)
    except GoneError as error:
        state, detail = "gone", str(error)
    except TransientError as error:
        state, detail = "no answer", f"{error}."
    except OmlabError as error:
        state, detail = "no answer", str(error)
    return Link(name=entry.name, what=entry.what, url=entry.url, state=state, size=size, detail=detail)


def _size(entry: Entry) -> int | None:
    """How many bytes are offered. Raises `DownloadError` or `TransientError`."""
    if entry.repository is not None:
        _, files = hub.contents(sources.parse_repository(entry.repository), url=entry.repository)
        sizes = [file.size for file in files]
        return None if None in sizes else sum(size or 0 for size in sizes)
    assert entry.file is not None
    source = sources.parse(entry.file.url)
    if source.kind == "local":
        path = entry.place()
        if not path.is_file():
            raise GoneError(f"There is no file {path}.")
        return path.stat().st_size
    if source.kind == "hub":
        return hub.size_of(source, url=entry.file.url)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _ask(entry.file, source)
        except TransientError as error:
            if attempt == _ATTEMPTS:
                raise
            time.sleep(min(error.after or download.FIRST_WAIT, 10.0))
    raise AssertionError


def _ask(file: WeightsFile, source: sources.Source) -> int | None:
    headers = {**download.HEADERS, "Range": "bytes=0-0"}
    try:
        response = download.opener(file, source)(headers)
    except HTTPError as error:
        with error:
            raise failure(file.name, file.url, error) from error
    except (OSError, HTTPException) as error:
        raise failure(file.name, file.url, error) from error
    with response:
        if is_page(response):
            raise GoneError(f"{file.url} gives a web page instead of {file.name}.")
        return download.extent(response, 0)[1]

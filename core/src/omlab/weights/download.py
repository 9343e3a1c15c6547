"""One file from the web to a partial file: attempts, resuming where it is provably right, room on the disk."""

from __future__ import annotations

import errno
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError

from omlab import __version__, progress
from omlab.errors import DownloadError, UsageError
from omlab.weights import drive, files, http, hub, sources

if TYPE_CHECKING:
    from omlab.card_schema import WeightsFile

ATTEMPTS = 5
FIRST_WAIT = 0.5
"""Seconds before the second attempt; doubled for each further one."""
_LONGEST_WAIT = 60.0
_CHUNK = 1 << 18
HEADERS = {"Accept-Encoding": "identity", "User-Agent": f"omlab/{__version__}"}

Open = Callable[[Mapping[str, str]], HTTPResponse]


@dataclass(frozen=True, kw_only=True)
class _Transfer:
    """What stays the same over all attempts. `proven`: the final sha256 is known, so any resumed byte is checked."""

    file: WeightsFile
    partial: Path
    open: Open
    proven: bool

    @property
    def state(self) -> Path:
        """Beside the partial file: the strong ETag of the version that it is a part of."""
        return self.partial.with_name(self.partial.name + ".json")


def to_partial(file: WeightsFile, source: sources.Source, path: Path, *, proven: bool) -> tuple[Path, bool]:
    """Fetch `file` to a temporary name beside `path`; gives that name and whether a part was there already.

    A part is gone on with only where `proven` (the sha256 of the whole is known, and the caller checks it) or where
    the server confirms by a strong ETag that it is of the same version; else the transfer starts anew.

    Raises:
        DownloadError: After `ATTEMPTS` attempts without gain, or at once where trying again cannot help.
    """
    partial = path.with_name(f".{path.name}.part")
    if source.kind == "hub":
        hub.download(file, source, partial)
        return partial, False
    transfer = _Transfer(file=file, partial=partial, open=opener(file, source), proven=proven)
    resumed = _start(transfer) > 0
    try:
        _attempts(transfer)
    except BaseException:
        _start(transfer)  # what cannot be resumed is not left behind
        raise
    transfer.state.unlink(missing_ok=True)
    return partial, resumed


def opener(file: WeightsFile, source: sources.Source) -> Open:
    """What opens a file of the web or of Google Drive, given the headers of the request.

    Raises `UsageError` for what lies in a folder of Google Drive.
    """
    if source.kind == "folder":
        raise UsageError(
            f"'{source.where}' is a Google Drive folder, from which no program can fetch: download {file.name} in a "
            "browser and give it with --weights FILE."
        )
    session = http.Session()
    if source.kind == "drive":
        return lambda headers: drive.open_file(session, source.where, name=file.name, headers=headers)
    return lambda headers: session.get(source.where, headers=headers)


def _attempts(transfer: _Transfer) -> None:
    failures = 0
    while True:
        have = _start(transfer)
        try:
            _attempt(transfer, have)
            return
        except http.TransientError as error:
            failures = 1 if _start(transfer) > have else failures + 1
            if failures >= ATTEMPTS:
                raise DownloadError(
                    f"{transfer.file.name} could not be fetched from {transfer.file.url}: {error}; "
                    f"tried {failures} times. Try again later, or get it elsewhere and name your copy with --weights."
                ) from error
            time.sleep(min(error.after or FIRST_WAIT * 2 ** (failures - 1), _LONGEST_WAIT))


def _start(transfer: _Transfer) -> int:
    """How many bytes are there to go on from; anything that may not be gone on with is removed."""
    if transfer.partial.exists() and (transfer.proven or _etag(transfer)):
        size = transfer.partial.stat().st_size
        if transfer.file.size is None or size <= transfer.file.size:
            return size
    transfer.partial.unlink(missing_ok=True)
    transfer.state.unlink(missing_ok=True)
    return 0


def _etag(transfer: _Transfer) -> str:
    try:
        return str(json.loads(transfer.state.read_text(encoding="utf-8"))["etag"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _attempt(transfer: _Transfer, have: int) -> None:
    if have and have == transfer.file.size:
        return
    headers = dict(HEADERS)
    if have:
        headers["Range"] = f"bytes={have}-"
        if not transfer.proven:
            headers["If-Range"] = _etag(transfer)
    file = transfer.file
    try:
        response = transfer.open(headers)
    except HTTPError as error:
        with error:
            if error.code == 416 and have:
                if (error.headers.get("Content-Range") or "") == f"bytes */{have}":
                    return
                transfer.partial.unlink(missing_ok=True)
                raise http.TransientError("the server has another version than the part fetched before") from error
            raise http.failure(file.name, file.url, error) from error
    except (OSError, HTTPException) as error:
        raise http.failure(file.name, file.url, error) from error
    with response:
        _receive(transfer, response, have)


def _receive(transfer: _Transfer, response: HTTPResponse, have: int) -> None:
    """Write the body behind the `have` bytes, or from the start where the server sends all of it."""
    file = transfer.file
    start, total = extent(response, have)
    if http.is_page(response):
        raise DownloadError(_not_a_file(file, response.read(_CHUNK)))
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise DownloadError(f"{file.name} is not fetched: {file.url} sends it in another encoding than asked for.")
    if file.size is not None and total is not None and total != file.size:
        raise DownloadError(
            f"{file.name} is not fetched: {file.url} offers {total} bytes, and the card says {file.size}; "
            "the published file has changed."
        )
    expected = total or file.size or file.approximate_size or 0
    files.check_room(transfer.partial.parent, max(0, expected - start), name=file.name)
    etag = response.headers.get("ETag", "")
    received = start
    try:
        if start == 0:
            transfer.state.unlink(missing_ok=True)
            if etag.startswith('"'):
                transfer.state.write_text(json.dumps({"etag": etag}), encoding="utf-8")
        with (
            transfer.partial.open("ab" if start else "wb") as out,
            progress.bar(f"fetching {file.name}", total=total) as advance,
        ):
            advance(start)
            while chunk := _read(file, response):
                if received == 0 and b"<html" in chunk[:512].lower():
                    raise DownloadError(_not_a_file(file, chunk))
                out.write(chunk)
                received += len(chunk)
                advance(len(chunk))
    except OSError as error:
        raise _cannot_write(transfer, error) from error
    if total is not None and received != total:
        raise http.TransientError(f"the transfer ended after {received} of {total} bytes")
    if file.size is not None and received != file.size:
        raise http.TransientError(f"{received} bytes came, and the card says {file.size}")


def _read(file: WeightsFile, response: HTTPResponse) -> bytes:
    try:
        return response.read(_CHUNK)
    except (OSError, HTTPException) as error:
        raise http.failure(file.name, file.url, error) from error


def extent(response: HTTPResponse, have: int) -> tuple[int, int | None]:
    """Where the body begins, and how long the whole file is where the server says so."""
    if response.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != have:
            raise DownloadError(f"The server sends another part of the file than asked for ({response.url}).")
        return have, None if found[2] == "*" else int(found[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _cannot_write(transfer: _Transfer, error: OSError) -> DownloadError:
    folder = transfer.partial.parent
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        transfer.partial.unlink(missing_ok=True)
        return DownloadError(
            f"The disk became full while {transfer.file.name} was fetched to {folder}: make room, or set OMLAB_CACHE "
            "to a folder on another disk; nothing was kept."
        )
    return DownloadError(f"{transfer.file.name} cannot be written to {folder}: {error.strerror or error}.")


def _not_a_file(file: WeightsFile, head: bytes) -> str:
    page = http.title(head.decode("utf-8", errors="replace"))
    return (
        f"{file.url} gives a web page ('{page}') instead of {file.name}: open it in a browser, "
        "and give the file with --weights FILE."
    )

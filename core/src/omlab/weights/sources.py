"""Where a weights file is published, told from the link as users know it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from omlab.errors import UsageError

_HUB = re.compile(r"hf://([^/@]+/[^/@]+)/([^@]+)(?:@(.+))?")
_REPOSITORY = re.compile(r"hf://([^/@\s]+/[^/@\s]+)@(\S+)")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_DRIVE_HOSTS = ("drive.google.com", "docs.google.com", "drive.usercontent.google.com")
_DRIVE_ID = re.compile(r"[\w-]{10,}")


@dataclass(frozen=True, kw_only=True)
class Source:
    """One place. `where` is a path, a URL, a Drive id, or the path inside a Hub repository.

    Of a `folder` of Google Drive, a URL, only a person in a browser can have a file.
    """

    kind: Literal["local", "web", "drive", "folder", "hub"]
    where: str
    repository: str = ""
    revision: str | None = None


def parse(url: str) -> Source:
    """Tell what `url` is: `hf://owner/repo/path@revision`, https, a Drive share link, `file://` or a path.

    Plain http is taken from this machine alone (tests); weights never travel unprotected.

    Raises:
        UsageError: The link is of no known form.
    """
    parts = urlsplit(url)
    if parts.scheme == "hf":
        return _hub(url)
    if parts.scheme == "file":
        return Source(kind="local", where=_local(parts.path))
    if parts.hostname in _DRIVE_HOSTS and "/folders/" in parts.path:
        return Source(kind="folder", where=url)
    if parts.hostname in _DRIVE_HOSTS:
        return Source(kind="drive", where=_drive_id(url))
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return Source(kind="web", where=url)
    if "://" not in url:
        return Source(kind="local", where=str(Path(url).expanduser()))
    raise UsageError(f"Weights cannot be fetched from '{url}': give an https://, hf://, file:// or Google Drive link.")


def parse_repository(url: str) -> Source:
    """A whole repository of the Hub, `hf://owner/name@revision`; `where` is empty. Raises `UsageError`."""
    match = _REPOSITORY.fullmatch(url)
    if match is None:
        raise UsageError(f"'{url}' is not hf://owner/repository@revision.")
    return Source(kind="hub", repository=match[1], where="", revision=match[2])


def _local(path: str) -> str:
    from urllib.request import url2pathname  # slow to import, and seldom needed

    return url2pathname(path)


def _hub(url: str) -> Source:
    match = _HUB.fullmatch(url)
    if match is None:
        raise UsageError(f"'{url}' is not hf://owner/repository/path@revision.")
    return Source(kind="hub", repository=match[1], where=match[2], revision=match[3])


def _drive_id(url: str) -> str:
    """The file id in `file/d/ID/view`, `open?id=ID`, `uc?id=ID` and their like."""
    parts = urlsplit(url)
    found = re.search(r"/d/([\w-]+)", parts.path)
    identity = found[1] if found else next(iter(parse_qs(parts.query).get("id", [])), "")
    if not _DRIVE_ID.fullmatch(identity):
        raise UsageError(f"'{url}' names no Google Drive file: copy the file's own share link.")
    return identity

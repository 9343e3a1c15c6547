"""Google Drive: from a file's id to its bytes, through the page that warns about large files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from http.client import HTTPResponse
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin, urlsplit

from omlab.errors import DownloadError
from omlab.weights.http import GoneError, RefusedError, Session, is_page, title

_HOST = "https://drive.usercontent.google.com"
_GOOGLE = (".google.com", ".googleusercontent.com")
_PAGE = 1 << 20
_QUOTA = re.compile(
    r"quota exceeded|too many users have viewed|can.t (?:view or )?download this file at this time", re.I
)
_SIGN_IN = re.compile(r"accounts\.google\.com|you need access|request access|<title>[^<]*sign.?in", re.I)


def open_file(session: Session, identity: str, *, name: str, headers: Mapping[str, str]) -> HTTPResponse:
    """The answer that carries the file `identity`.

    A file too large for Google's virus scan comes behind a page with a form (`confirm` and `uuid` in hidden fields),
    formerly a link or a cookie; it is confirmed as a person would. `OMLAB_DRIVE_URL` names a server that plays Drive.

    Raises:
        DownloadError: The file is not public, is over its quota, or Google's page is of no known form.
    """
    base = os.environ.get("OMLAB_DRIVE_URL", _HOST).rstrip("/")
    first = f"{base}/download?{urlencode({'id': identity, 'export': 'download'})}"
    whole = {key: value for key, value in headers.items() if key not in ("Range", "If-Range")}  # pages come whole
    try:
        response = session.get(first, headers=whole)
        if not is_page(response):
            return response if whole == headers else _again(session, response, headers)
        with response:
            page = response.read(_PAGE).decode("utf-8", errors="replace")
            onward = _onward(page, response.url, identity, session)
        if onward is None or not _is_trusted(onward, base):
            raise _explain(page, response.url, name, identity)
        response = session.get(onward, headers=headers)
    except HTTPError as error:
        if error.code in (401, 403, 404):
            with error:
                page = error.read(_PAGE).decode("utf-8", errors="replace")
            raise _explain(page, error.url or first, name, identity, code=error.code) from error
        raise
    if is_page(response):
        with response:
            page = response.read(_PAGE).decode("utf-8", errors="replace")
        raise _explain(page, response.url, name, identity)
    return response


def _again(session: Session, response: HTTPResponse, headers: Mapping[str, str]) -> HTTPResponse:
    """The file that `response` began to give, now with the wanted range."""
    with response:
        return session.get(response.url, headers=headers)


class _Form(HTMLParser):
    """Finds the form of the warning page, or the link of its older shape."""

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.link = ""
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {key: value or "" for key, value in attrs}
        if tag == "form" and (has.get("id") == "download-form" or "download" in has.get("action", "")):
            self.action, self._inside = has.get("action", ""), True
        elif tag == "input" and self._inside and has.get("name"):
            self.fields[has["name"]] = has.get("value", "")
        elif tag == "a" and (has.get("id") == "uc-download-link" or "confirm=" in has.get("href", "")):
            self.link = has.get("href", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False


def _onward(page: str, url: str, identity: str, session: Session) -> str | None:
    """The address that the warning page leads to; None where it is another page."""
    form = _Form()
    form.feed(page)
    if form.action:
        joined = urljoin(url, form.action)
        return f"{joined}{'&' if urlsplit(joined).query else '?'}{urlencode(form.fields)}" if form.fields else joined
    if form.link:
        return urljoin(url, form.link)
    for cookie in session.cookies:
        if cookie.name.startswith("download_warning") and cookie.value:
            query = urlencode({"id": identity, "export": "download", "confirm": cookie.value})
            return urljoin(url, f"?{query}")
    return None


def _is_trusted(url: str, base: str) -> bool:
    """Whether a page's onward address stays with Google, or with the server that plays it."""
    parts = urlsplit(url)
    at_google = parts.scheme == "https" and (parts.hostname or "").endswith(_GOOGLE)
    return at_google or (parts.scheme, parts.netloc) == urlsplit(base)[:2]


def _explain(page: str, url: str, name: str, identity: str, *, code: int | None = None) -> DownloadError:
    link = f"https://drive.google.com/file/d/{identity}/view"
    by_hand = f"open {link} in a browser, and give the file with --weights FILE"
    if _QUOTA.search(page):
        return RefusedError(
            f"Google Drive does not give out {name} now: too many people fetched it lately (quota exceeded); "
            f"try again in a day, or {by_hand}."
        )
    if code == 404:
        return GoneError(f"There is no file {name} at {link} any more; ask its publisher for the new place.")
    if code in (401, 403) or _SIGN_IN.search(page) or "accounts.google.com" in url:
        return RefusedError(f"Google Drive asks for an account to give out {name}: {by_hand}.")
    return DownloadError(f"Google Drive answers with a page ('{title(page)}') instead of {name}: {by_hand}.")

"""A careful HTTP client on the standard library: cookies, no way from https to http, errors told apart."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from http.client import HTTPException, HTTPMessage, HTTPResponse
from http.cookiejar import CookieJar
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, Request, build_opener

from omlab.errors import DownloadError

TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as dead."""

_URL = "!#$%&'()*+,/:;=?@[]~"  # what stands for itself in a URL; anything else, as in names with umlauts, is quoted
_AGAIN = (408, 425, 429, 500, 502, 503, 504)


class TransientError(Exception):
    """Worth another attempt; `after` is how many seconds the server asks to wait."""

    def __init__(self, reason: str, *, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class GoneError(DownloadError):
    """There is nothing to fetch at the link."""


class RefusedError(DownloadError):
    """The link is right, but what it leads to is not given to everyone, or not now."""


class _Redirects(HTTPRedirectHandler):
    """Follows redirects, but never from a protected to an unprotected connection."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """The request to go on with. Raises `DownloadError` where it would leave https."""
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise DownloadError(f"{req.full_url} redirects to {newurl}, which is not protected; it is not followed.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Session:
    """Requests that share cookies."""

    def __init__(self) -> None:
        self.cookies = CookieJar()
        self._opener = build_opener(HTTPCookieProcessor(self.cookies), _Redirects())

    def get(self, url: str, *, headers: Mapping[str, str]) -> HTTPResponse:
        """Open `url`. Raises `HTTPError`, or what `failure` understands."""
        request = Request(quote(url, safe=_URL), headers=dict(headers))  # noqa: S310 - omlab.weights.sources allows https and loopback only
        response: HTTPResponse = self._opener.open(request, timeout=TIMEOUT)
        return response


def failure(name: str, url: str, error: Exception) -> Exception:
    """What `error` means for fetching `name`: a `TransientError`, or a `DownloadError` with its sentence."""
    if isinstance(error, HTTPError):
        return _status(name, url, error)
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return DownloadError(f"{name} is not fetched: the certificate of {url} cannot be verified.")
    if isinstance(reason, OSError | HTTPException | str):
        detail = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        return TransientError(f"the connection failed ({detail})")
    return DownloadError(f"{name} cannot be fetched from {url}: {error}.")


def _status(name: str, url: str, error: HTTPError) -> Exception:
    if error.code in _AGAIN:
        after = error.headers.get("Retry-After", "") if error.headers else ""
        seconds = float(after) if re.fullmatch(r"\d{1,4}", after) else None
        return TransientError(f"the server answers {error.code} {error.reason}", after=seconds)
    if 300 <= error.code < 400:
        return GoneError(f"{name} cannot be fetched: {url} redirects in a circle or to nowhere.")
    if error.code in (401, 403):
        return RefusedError(
            f"{name} cannot be fetched: {url} refuses access ({error.code}); open the link in a browser, and give the "
            "file with --weights FILE."
        )
    if error.code in (404, 410):
        return GoneError(f"{name} is not at {url} any more ({error.code}); ask its publisher for the new place.")
    kind = GoneError if error.code < 500 else DownloadError
    return kind(f"{name} cannot be fetched: {url} answers {error.code} {error.reason}.")


def is_page(response: HTTPResponse) -> bool:
    """Whether the answer is a web page to look at, not a file to keep."""
    attached = response.headers.get("Content-Disposition", "").lower().startswith("attachment")
    return response.headers.get_content_type() == "text/html" and not attached


def title(page: str) -> str:
    """The title of a web page, on one line."""
    found = re.search(r"<title[^>]*>(.*?)</title>", page, re.IGNORECASE | re.DOTALL)
    return " ".join(found[1].split())[:80] if found else "no title"

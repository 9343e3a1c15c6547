"""A server on 127.0.0.1 that misbehaves in every way that servers do."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

BODY = bytes(range(256)) * 4096  # 1 MiB


@dataclass
class Resource:
    """What the server says for a path. `faults` are taken one a request: a status, or `cut` after n bytes."""

    body: bytes = BODY
    etag: str = ""
    ranges: bool = True
    kind: str = "application/octet-stream"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    faults: list[tuple[str, int]] = field(default_factory=list)
    length: int | None = None
    pause: float = 0.0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.seen.append((self.path, self.headers.get("Range", ""), self.headers.get("Cookie", "")))
        with contextlib.suppress(ConnectionError):
            self._answer()

    do_HEAD = do_GET  # noqa: N815 - the base class finds it by this name

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        found = self.server.resources.get(parts.path)
        if callable(found):
            found = found({k: v[0] for k, v in parse_qs(parts.query).items()}, self.headers.get("Cookie", ""))
        if found is None:
            self.send_error(404)
            return
        fault, amount = found.faults.pop(0) if found.faults else ("", 0)
        if fault == "status":
            self.send_error(amount)
            return
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        part = self._part(found)
        body = found.body[part.start : part.stop] if part else found.body
        self.send_response(206 if part else found.status)
        if part:
            self.send_header("Content-Range", f"bytes {part.start}-{part.stop - 1}/{len(found.body)}")
        if found.etag:
            self.send_header("ETag", found.etag)
        for key, value in {"Content-Type": found.kind, **found.headers}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body) if found.length is None else found.length))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "cut":
            body = body[:amount]
        for at in range(0, len(body), 1 << 16):
            self.wfile.write(body[at : at + (1 << 16)])
            time.sleep(found.pause)

    def _part(self, found: Resource) -> range | None:
        """The bytes asked for; None: all of them."""
        asked = self.headers.get("Range", "")
        condition = self.headers.get("If-Range")
        if not asked or not found.ranges or (condition is not None and condition != found.etag):
            return None
        first, _, last = asked.removeprefix("bytes=").partition("-")
        return range(int(first), min(int(last) + 1, len(found.body)) if last else len(found.body))


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.resources: dict[str, Resource | Callable[[dict[str, str], str], Resource]] = {}
        self.seen: list[tuple[str, str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def ranges(self) -> list[str]:
        return [asked for _, asked, _ in self.seen]

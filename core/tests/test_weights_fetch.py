"""Fetching: a server on 127.0.0.1 misbehaves in every way that servers do."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request

import pytest

from omlab import progress, weights
from omlab.card_schema import WeightsFile
from omlab.errors import DownloadError, UsageError, WeightsError, WeightsWarning
from omlab.weights import download, sources
from omlab.weights.cache import read_record
from omlab.weights.http import _Redirects

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
        start = self._start(found)
        body = found.body[start:]
        self.send_response(206 if start else found.status)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(found.body) - 1}/{len(found.body)}")
        if found.etag:
            self.send_header("ETag", found.etag)
        for key, value in {"Content-Type": found.kind, **found.headers}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body) if found.length is None else found.length))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "cut":
            body = body[:amount]
        for at in range(0, len(body), 1 << 16):
            self.wfile.write(body[at : at + (1 << 16)])
            time.sleep(found.pause)

    def _start(self, found: Resource) -> int:
        asked = self.headers.get("Range", "")
        condition = self.headers.get("If-Range")
        if not asked or not found.ranges or (condition is not None and condition != found.etag):
            return 0
        return int(asked.removeprefix("bytes=").removesuffix("-"))


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


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OMLAB_OFFLINE", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "FIRST_WAIT", 0.01)
    return tmp_path / "cache"


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def described(url: str, *, body: bytes | None = BODY, **changes: object) -> WeightsFile:
    """A card's entry, past the schema, which allows no plain http. `body` None: sha256 and size unknown."""
    known = {"size": len(body), "sha256": sha256(body)} if body is not None else {"size": None, "sha256": None}
    return WeightsFile.model_construct(**{"name": "w.bin", "url": url, "approximate_size": 1 << 20, **known, **changes})


def leftovers(cache: Path) -> list[str]:
    return sorted(p.name for p in cache.rglob("*") if p.is_file() and p.suffix != ".lock" and p.name != "omlab.json")


def test_fetches_once_and_reports_bytes(server: Server, cache: Path) -> None:
    server.resources["/w"] = Resource()
    steps: list[int] = []

    @contextlib.contextmanager
    def sink(description: str, total: int | None) -> Iterator[progress.Advance]:
        yield lambda n=1, /, **_: steps.append(n) if description.startswith("fetching") else None

    file = described(f"{server.url}/w")
    assert weights.cached(file) is None
    with progress.shown_by(sink):
        path = weights.fetch(file)
    assert path.read_bytes() == BODY
    assert sum(steps) == len(BODY)
    assert weights.fetch(file) == path == weights.cached(file) == weights.place(file)
    assert len(server.seen) == 1
    assert leftovers(cache) == ["w.bin"]


def test_unknown_sha256_is_recorded_then_checked(server: Server) -> None:
    server.resources["/w"] = Resource()
    file = described(f"{server.url}/w", body=None)
    with pytest.warns(WeightsWarning, match=f"gives no sha256: {sha256(BODY)}"):
        path = weights.fetch(file)
    record = read_record(path)
    assert record is not None
    assert (record.sha256, record.size, record.published) == (sha256(BODY), len(BODY), False)
    path.write_bytes(BODY[:-1] + b"x")
    with pytest.raises(WeightsError, match="was recorded when it was first fetched"):
        weights.verify(path, file)
    with pytest.raises(DownloadError, match="damaged or changed"):
        weights.fetch(file, offline=True)
    with pytest.warns(WeightsWarning, match="It is fetched again"):
        assert weights.fetch(file).read_bytes() == BODY


def test_another_file_at_the_same_place_is_refused(server: Server, cache: Path) -> None:
    server.resources["/w"] = Resource()
    file = described(f"{server.url}/w", body=None)
    with pytest.warns(WeightsWarning):
        path = weights.fetch(file)
    path.unlink()
    server.resources["/w"] = Resource(body=BODY + b"new")
    with pytest.raises(DownloadError, match="not the file that was first fetched"):
        weights.fetch(file)
    assert leftovers(cache) == []
    assert weights.remove(file) > 0
    with pytest.warns(WeightsWarning, match="recorded"):
        assert weights.fetch(file).read_bytes() == BODY + b"new"


def test_two_versions_of_a_name_live_side_by_side(server: Server) -> None:
    one, two = b"a" * 100, b"b" * 100
    server.resources["/w"] = Resource(body=one)
    first = weights.fetch(described(f"{server.url}/w", body=one))
    server.resources["/w"] = Resource(body=two)
    second = weights.fetch(described(f"{server.url}/w", body=two))
    assert (first.read_bytes(), second.read_bytes()) == (one, two)
    assert first.name == second.name


@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_transfer_is_gone_on_with(server: Server, *, ranges: bool) -> None:
    server.resources["/w"] = Resource(ranges=ranges, faults=[("cut", 300_000), ("cut", 300_000)])
    assert weights.fetch(described(f"{server.url}/w")).read_bytes() == BODY
    assert server.ranges[:2] == ["", "bytes=300000-"]


def test_without_sha256_only_a_strong_etag_allows_resuming(server: Server) -> None:
    for etag, resumed in (('"v1"', True), ('W/"v1"', False), ("", False)):
        server.seen.clear()
        server.resources["/w"] = Resource(etag=etag, faults=[("cut", 300_000)])
        file = described(f"{server.url}/w", body=None, name=f"{len(etag)}.bin")
        with pytest.warns(WeightsWarning):
            assert weights.fetch(file).read_bytes() == BODY
        assert server.ranges == (["", "bytes=300000-"] if resumed else ["", ""])
        weights.remove(file)


def test_a_part_of_another_version_is_not_used(server: Server) -> None:
    file = described(f"{server.url}/w")
    part = weights.place(file).with_name(".w.bin.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    server.resources["/w"] = Resource()
    assert weights.fetch(file).read_bytes() == BODY
    assert server.ranges == ["bytes=1000-", ""]


def test_a_complete_part_is_taken_without_a_request(server: Server) -> None:
    file = described(f"{server.url}/w")
    part = weights.place(file).with_name(".w.bin.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(BODY)
    assert weights.fetch(file).read_bytes() == BODY
    assert server.seen == []


def test_passing_trouble_is_tried_again(server: Server) -> None:
    server.resources["/w"] = Resource(faults=[("status", 500), ("status", 429), ("reset", 0), ("status", 503)])
    assert weights.fetch(described(f"{server.url}/w")).read_bytes() == BODY
    assert len(server.seen) == 5


def test_lasting_trouble_is_one_sentence(server: Server, cache: Path) -> None:
    server.resources["/w"] = Resource(faults=[("status", 500)] * 10)
    with pytest.raises(DownloadError, match=r"answers 500 .*tried 5 times"):
        weights.fetch(described(f"{server.url}/w"))
    assert leftovers(cache) == []


@pytest.mark.parametrize(
    ("status", "sentence"), [(404, "is not at"), (403, "refuses access"), (410, "is not at"), (418, "answers 418")]
)
def test_final_answers_are_not_tried_again(server: Server, status: int, sentence: str) -> None:
    server.resources["/w"] = Resource(faults=[("status", status)] * 5)
    with pytest.raises(DownloadError, match=sentence):
        weights.fetch(described(f"{server.url}/w"))
    assert len(server.seen) == 1


def test_redirects(server: Server) -> None:
    server.resources["/w"] = Resource(status=302, body=b"", headers={"Location": "/there"})
    server.resources["/there"] = Resource()
    assert weights.fetch(described(f"{server.url}/w")).read_bytes() == BODY
    server.resources["/loop"] = Resource(status=302, body=b"", headers={"Location": "/loop"})
    with pytest.raises(DownloadError, match="redirects in a circle"):
        weights.fetch(described(f"{server.url}/loop"))


def test_a_redirect_never_leaves_https() -> None:
    protected = Request("https://example.org/w.bin")
    redirect = partial(_Redirects().redirect_request, protected, io.BytesIO(), 302, "Found", HTTPMessage())
    with pytest.raises(DownloadError, match="is not protected"):
        redirect("http://example.org/w.bin")
    onward = redirect("https://example.org/other.bin")
    assert onward is not None
    assert onward.full_url == "https://example.org/other.bin"


def test_names_beyond_ascii_are_quoted(server: Server) -> None:
    server.resources["/gr%C3%B6%C3%9Fe%20v1.bin"] = Resource()
    assert weights.fetch(described(f"{server.url}/größe%20v1.bin")).read_bytes() == BODY


def test_nobody_listens() -> None:
    with Server() as unused:
        url = unused.url
    with pytest.raises(DownloadError, match=r"could not be fetched .*connection failed .*tried 5 times"):
        weights.fetch(described(f"{url}/w"))


def test_a_web_page_is_not_a_file(server: Server, cache: Path) -> None:
    page = b"<!DOCTYPE html><html><head><title>Please\n log in</title></head></html>"
    for kind in ("text/html; charset=utf-8", "application/octet-stream"):
        server.resources["/w"] = Resource(body=page, kind=kind)
        with pytest.raises(DownloadError, match=r"a web page \('Please log in'\) instead of w.bin"):
            weights.fetch(described(f"{server.url}/w", body=None))
    assert leftovers(cache) == []


def test_wrong_size_and_wrong_content(server: Server, cache: Path) -> None:
    server.resources["/w"] = Resource(body=BODY[:-1])
    with pytest.raises(DownloadError, match=f"offers {len(BODY) - 1} bytes, and the card says {len(BODY)}"):
        weights.fetch(described(f"{server.url}/w"))
    server.resources["/w"] = Resource(body=b"x" + BODY[1:])
    with pytest.raises(DownloadError, match="the card gives"):
        weights.fetch(described(f"{server.url}/w"))
    server.resources["/w"] = Resource(length=len(BODY) + 5)
    with pytest.raises(DownloadError, match=f"ended after {len(BODY)} of {len(BODY) + 5} bytes"):
        weights.fetch(described(f"{server.url}/w", body=None))
    assert leftovers(cache) == []


def test_no_room_is_said_before_the_transfer(server: Server, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    server.resources["/w"] = Resource()
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(DownloadError, match=r"'w.bin' needs 1.0 MB in .* where 0.0 MB are free"):
        weights.fetch(described(f"{server.url}/w"))
    assert leftovers(cache) == []


def test_a_disk_that_becomes_full(server: Server, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    server.resources["/w"] = Resource()
    opened = Path.open

    def full(self: Path, mode: str = "r", *args: object, **kwargs: object) -> object:
        stream = opened(self, mode, *args, **kwargs)  # type: ignore[call-overload]
        if self.suffix != ".part" or "b" not in mode:
            return stream

        def write(_: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        return contextlib.closing(SimpleNamespace(write=write, close=stream.close))

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DownloadError, match="disk became full"):
        weights.fetch(described(f"{server.url}/w"))
    assert leftovers(cache) == []


def test_a_cache_that_cannot_be_written(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "taken"))
    server.resources["/w"] = Resource()
    with pytest.raises(DownloadError, match="set OMLAB_CACHE to a folder of yours"):
        weights.fetch(described(f"{server.url}/w"))


def test_a_prepared_cache_may_be_read_only(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.resources["/w"] = Resource()
    file = described(f"{server.url}/w")
    path = weights.fetch(file)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    for name in ("mkdir", "unlink", "replace", "write_text"):
        monkeypatch.setattr(Path, name, refuse)
    assert weights.fetch(file) == path
    assert weights.fetch(file, offline=True) == path


def test_offline_says_where_to_put_the_file(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMLAB_OFFLINE", "1")
    file = described(f"{server.url}/w")
    path = weights.place(file)
    with pytest.raises(DownloadError) as caught:
        weights.fetch(file)
    assert str(path) in str(caught.value)
    assert file.url in str(caught.value)
    assert "--weights FILE" in str(caught.value)
    path.parent.mkdir(parents=True)
    path.write_bytes(BODY)
    assert weights.fetch(file) == path
    assert server.seen == []


FETCH = """
import sys, warnings
from omlab import weights
from omlab.card_schema import WeightsFile
name, url, size, sha256 = sys.argv[1:]
file = WeightsFile.model_construct(name=name, url=url, size=int(size), sha256=sha256, approximate_size=None)
print(weights.fetch(file))
"""


def start_fetch(file: WeightsFile) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", FETCH, file.name, file.url, str(file.size), str(file.sha256)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def test_two_processes_fetch_once(server: Server) -> None:
    server.resources["/w"] = Resource(pause=0.03)
    file = described(f"{server.url}/w")
    processes = [start_fetch(file), start_fetch(file)]
    outputs = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs == {str(weights.place(file))}
    assert weights.place(file).read_bytes() == BODY
    assert len(server.seen) == 1


def test_a_killed_process_is_gone_on_from(server: Server, cache: Path) -> None:
    server.resources["/w"] = Resource(pause=0.1)
    file = described(f"{server.url}/w")
    part = weights.place(file).with_name(".w.bin.part")
    process = start_fetch(file)
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert weights.cached(file) is None
    have = part.stat().st_size
    server.resources["/w"] = Resource()
    assert weights.fetch(file).read_bytes() == BODY
    assert server.ranges == ["", f"bytes={have}-"]
    assert leftovers(cache) == ["w.bin"]


def test_local_files_are_used_in_place(tmp_path: Path) -> None:
    here = tmp_path / "my weights.bin"
    here.write_bytes(BODY)
    file = WeightsFile(name="w.bin", url=here.as_uri(), size=len(BODY), sha256=sha256(BODY))
    assert weights.fetch(file, offline=True) == here
    here.write_bytes(BODY[:-1])
    with pytest.raises(WeightsError, match="is truncated or another file"):
        weights.fetch(file)
    with pytest.raises(WeightsError, match="is not removed"):
        weights.remove(file)
    here.unlink()
    with pytest.raises(WeightsError, match="There is no weights file"):
        weights.fetch(file)


def test_links_as_users_know_them() -> None:
    identity = "1BHCp1Ort-OaVFwaZmvsG4qHiKiPeNb4h"
    for link in (
        f"https://drive.google.com/file/d/{identity}/view?usp=sharing",
        f"https://drive.google.com/file/d/{identity}",
        f"https://drive.google.com/open?id={identity}&usp=drive_copy",
        f"https://drive.google.com/uc?export=download&id={identity}",
        f"https://drive.google.com/file/u/0/d/{identity}/edit",
    ):
        assert sources.parse(link) == sources.Source(kind="drive", where=identity)
    hub = sources.parse("hf://owner/repo/sub/w.bin@refs/pr/1")
    assert (hub.repository, hub.where, hub.revision) == ("owner/repo", "sub/w.bin", "refs/pr/1")
    assert sources.parse("hf://owner/repo/w.bin").revision is None
    for link in (
        "https://drive.google.com/drive/folders/1mt5suOG9RkVg4lV85_RMnJ5dZTm_tRo2",
        "https://drive.google.com/",
        "hf://owner/repo",
        "http://example.org/w.bin",
        "ftp://example.org/w.bin",
    ):
        with pytest.raises(UsageError):
            sources.parse(link)


ID = "1HReH6dDrEuXgHPrsw7OrHSjvEUF3f4mv"
DRIVE_LINK = f"https://drive.google.com/file/d/{ID}/view?usp=sharing"
FORM = """<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>
<form id="download-form" action="{base}/download" method="get"><input type="submit" value="Download anyway"/>
<input type="hidden" name="id" value="{id}"><input type="hidden" name="export" value="download">
<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="12-ab"></form></body></html>"""


@pytest.fixture
def drive(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("OMLAB_DRIVE_URL", server.url)
    return server


def html(text: str, **changes: object) -> Resource:
    return Resource(body=text.encode(), kind="text/html; charset=utf-8", **changes)  # type: ignore[arg-type]


def test_drive_small_file(drive: Server) -> None:
    drive.resources["/download"] = Resource(headers={"Content-Disposition": 'attachment; filename="w.bin"'})
    assert weights.fetch(described(DRIVE_LINK)).read_bytes() == BODY
    assert f"id={ID}" in drive.seen[0][0]


def test_drive_large_file_behind_the_warning_and_resumed(drive: Server) -> None:
    whole = Resource(faults=[("cut", 300_000)])

    def answer(query: dict[str, str], cookie: str) -> Resource:
        if query.get("confirm") == "t" and query.get("uuid") == "12-ab" and "NID=7" in cookie:
            return whole
        return html(FORM.format(base=drive.url, id=ID), headers={"Set-Cookie": "NID=7; Path=/"})

    drive.resources["/download"] = answer
    assert weights.fetch(described(DRIVE_LINK)).read_bytes() == BODY
    assert drive.ranges[-1] == "bytes=300000-"


def test_drive_older_warnings(drive: Server) -> None:
    def by_link(query: dict[str, str], _: str) -> Resource:
        link = f'<a id="uc-download-link" href="/download?export=download&amp;confirm=Zx&amp;id={ID}">anyway</a>'
        return Resource() if query.get("confirm") == "Zx" else html(link)

    def by_cookie(query: dict[str, str], _: str) -> Resource:
        cookie = {"Set-Cookie": "download_warning_1=Yw; Path=/"}
        return Resource() if query.get("confirm") == "Yw" else html("<html>too large to scan</html>", headers=cookie)

    for answer in (by_link, by_cookie):
        drive.resources["/download"] = answer
        file = described(DRIVE_LINK)
        assert weights.fetch(file).read_bytes() == BODY
        weights.remove(file)


@pytest.mark.parametrize(
    ("resource", "sentence"),
    [
        (html("<html><title>Google Drive - Quota exceeded</title>Too many users have viewed</html>"), "quota exceeded"),
        (html("<html><title>Quota exceeded</title></html>", status=403), "quota exceeded"),
        (html("<html><title>Sign in - Google Accounts</title></html>"), "asks for an account"),
        (html("<html><title>Something new</title></html>"), r"answers with a page \('Something new'\)"),
        (html('<form id="download-form" action="https://evil.example/download"></form>'), "answers with a page"),
        (html("<html><title>Not found</title></html>", status=404), "There is no file w.bin"),
        (html("<html>Denied</html>", status=401), "asks for an account"),
        (html("<form action='/download'><input name='confirm' value='t'></form>"), "answers with a page"),
    ],
)
def test_drive_pages_are_sentences(drive: Server, cache: Path, resource: Resource, sentence: str) -> None:
    drive.resources["/download"] = resource
    with pytest.raises(DownloadError, match=sentence) as caught:
        weights.fetch(described(DRIVE_LINK, body=None))
    assert "--weights FILE" in str(caught.value) or "publisher" in str(caught.value)
    assert leftovers(cache) == []


def test_drive_passing_trouble(drive: Server) -> None:
    drive.resources["/download"] = Resource(faults=[("status", 503)])
    assert weights.fetch(described(DRIVE_LINK)).read_bytes() == BODY


def test_hub_files_enter_the_same_cache(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    asked: list[tuple[object, ...]] = []

    def fake(repo_id: str, filename: str, *, revision: str | None, local_dir: Path, tqdm_class: type) -> str:
        asked.append((repo_id, filename, revision))
        target = Path(local_dir) / filename
        target.parent.mkdir(parents=True)
        with tqdm_class(total=len(BODY), initial=0, unit="B", name="x") as bar:
            target.write_bytes(BODY)
            bar.update(len(BODY))
        return str(target)

    monkeypatch.setattr(hub, "hf_hub_download", fake)
    file = described("hf://owner/repo/sub/w.bin@v1")
    assert weights.fetch(file).read_bytes() == BODY
    assert asked == [("owner/repo", "sub/w.bin", "v1")]
    assert leftovers(cache) == ["w.bin"]

    def fail(*_: object, **__: object) -> str:
        raise OSError("cannot reach the Hub\nlong story")

    monkeypatch.setattr(hub, "hf_hub_download", fail)
    with pytest.raises(DownloadError, match=r"cannot be fetched from hf://o/r/w.bin: cannot reach the Hub\.$"):
        weights.fetch(described("hf://o/r/w.bin"))


def test_the_real_hub_library_against_a_server(server: Server) -> None:
    pytest.importorskip("huggingface_hub")
    commit = {"X-Repo-Commit": "0123456789abcdef0123456789abcdef01234567"}
    server.resources["/owner/repo/resolve/v1/sub/w.bin"] = Resource(etag='"abc"', headers=commit)
    file = described("hf://owner/repo/sub/w.bin@v1")
    environment = {**os.environ, "HF_ENDPOINT": server.url, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    arguments = [sys.executable, "-c", FETCH, file.name, file.url, str(file.size), str(file.sha256)]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert weights.fetch(file, offline=True).read_bytes() == BODY
    missing = subprocess.run(
        [*arguments[:4], "hf://owner/repo/none.bin@v1", *arguments[5:]],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    assert "DownloadError" in missing.stderr.splitlines()[-1]


def test_hub_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    from omlab.errors import MissingDependencyError

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match=r"install omlab-core\[hub\]"):
        weights.fetch(described("hf://o/r/w.bin"))


def test_interrupted_transfer_leaves_only_what_can_be_resumed(
    server: Server, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    def interrupt(*_: object) -> bytes:
        raise KeyboardInterrupt

    server.resources["/w"] = Resource()
    monkeypatch.setattr(download, "_read", interrupt)
    with pytest.raises(KeyboardInterrupt):
        weights.fetch(described(f"{server.url}/w", body=None))
    assert leftovers(cache) == []
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert weights.cached(described(f"{server.url}/w")) is None

"""Fetching files: a server misbehaves in every way that servers do."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from functools import partial
from http.client import HTTPMessage
from pathlib import Path
from types import SimpleNamespace
from urllib.request import Request

import pytest

from omlab import progress, weights
from omlab.card_schema import WeightsFile
from omlab.errors import DownloadError, WeightsError, WeightsWarning
from omlab.weights import cache as cache_module
from omlab.weights import download, files
from omlab.weights.cache import read_record
from omlab.weights.http import _Redirects

from .making import described, leftovers, sha256, start_fetch
from .serving import BODY, Resource, Server


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
    with pytest.raises(DownloadError, match=r"could not be fetched .*connection failed .*tried 5 times.*--weights"):
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


def test_an_unchanged_file_is_not_read_through_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.resources["/w"] = Resource()
    file = described(f"{server.url}/w")
    path = weights.fetch(file)
    os.utime(path, ns=(1, 1))  # as a copied cache has it
    assert weights.fetch(file, offline=True) == path
    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "file_digest", lambda _: pytest.fail("hashed again"))
        assert weights.fetch(file, offline=True) == path
    before = path.stat()
    path.write_bytes(b"x" + BODY[1:])
    with pytest.raises(DownloadError, match="damaged or changed"):
        weights.fetch(file, offline=True)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(WeightsError, match="damaged or changed"):
        weights.verify(path, file)


def test_another_sha256_on_the_card_is_another_file(server: Server) -> None:
    server.resources["/w"] = Resource()
    path = weights.fetch(described(f"{server.url}/w"))
    other = described(f"{server.url}/w", sha256="0" * 64)
    assert weights.cached(other) is None
    weights.place(other).parent.mkdir(parents=True)
    shutil.copy2(path, weights.place(other))
    shutil.copy2(path.with_name("omlab.json"), weights.place(other).with_name("omlab.json"))
    with pytest.raises(DownloadError, match="the card gives"):
        weights.fetch(other, offline=True)


def test_a_pipe_in_place_of_a_local_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.bin")
    with pytest.raises(WeightsError, match="is a pipe"):
        weights.fetch(described((tmp_path / "w.bin").as_uri()))


@pytest.mark.parametrize("name", ["..", ".", "a/b", "a\\b", "c:d", "w.bin ", "", "w\n"])
def test_a_name_that_is_none_has_no_place(name: str) -> None:
    with pytest.raises(WeightsError, match="is no name that a weights file can have"):
        weights.place(described("https://example.org/w", name=name))


def test_a_file_that_was_removed_while_another_process_waited_is_fetched(server: Server, cache: Path) -> None:
    server.resources["/w"] = Resource()
    file = described(f"{server.url}/w")
    with files.lock(weights.place(file).parent):
        waiting = threading.Thread(target=weights.fetch, args=(file,))
        waiting.start()
        time.sleep(0.2)
        shutil.rmtree(weights.place(file).parent)
    waiting.join()
    assert weights.place(file).read_bytes() == BODY

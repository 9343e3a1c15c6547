"""Whole repositories of the Hub: a folder each, through the Hub's own library against a server."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from omlab.errors import DownloadError, UsageError, WeightsError, WeightsWarning
from omlab.weights import snapshot

from .making import leftovers, sha256
from .serving import Resource, Server

pytest.importorskip("huggingface_hub")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
URL = "hf://owner/repo@v1"
FILES = {"config.json": b'{"layers": 2}', "model.safetensors": b"w" * 3000, "sub/vocab.txt": b"a\nb\n"}

Publish = Callable[..., None]


@pytest.fixture(autouse=True)
def _mirrored(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")


@pytest.fixture
def publish(server: Server) -> Publish:
    """Have the server play the Hub with these files; `claimed` are sha256 that it gives for some of them."""

    def run(files: dict[str, bytes], *, claimed: dict[str, str] | None = None, commit: str = COMMIT) -> None:
        listed = []
        for name, body in files.items():
            digest = (claimed or {}).get(name)
            large = {"lfs": {"sha256": digest, "size": len(body), "pointerSize": 130}} if digest else {}
            listed.append({"rfilename": name, "size": len(body), "blobId": "b", **large})
            server.resources[f"/owner/repo/resolve/{commit}/{name}"] = Resource(
                body=body, etag=f'"{sha256(body)[:40]}"', headers={"X-Repo-Commit": commit}
            )
        info = {"id": "owner/repo", "modelId": "owner/repo", "sha": commit, "siblings": listed, "tags": []}
        for revision in ("v1", commit):
            server.resources[f"/api/models/owner/repo/revision/{revision}"] = Resource(
                body=json.dumps(info).encode(), kind="application/json"
            )

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in snapshot.members(folder)}


def test_a_repository_is_fetched_once_whole_and_checked(server: Server, publish: Publish, cache: Path) -> None:
    publish(FILES, claimed={"model.safetensors": sha256(FILES["model.safetensors"])})
    assert snapshot.cached(URL) is None
    got = snapshot.fetch(URL)
    assert got.folder == snapshot.place(URL)
    assert contents(got.folder) == FILES
    assert got.sha256 == {name: sha256(body) for name, body in FILES.items()}
    assert got.commit == COMMIT
    asked = len(server.seen)
    assert snapshot.fetch(URL) == snapshot.cached(URL) == got
    assert len(server.seen) == asked
    assert leftovers(cache) == sorted(name.rpartition("/")[2] for name in FILES)


def test_content_that_the_hub_did_not_publish_is_not_kept(publish: Publish, cache: Path) -> None:
    publish(FILES, claimed={"model.safetensors": "0" * 64})
    with pytest.raises(DownloadError, match=r"model\.safetensors of hf://owner/repo@v1 came with 3000 bytes"):
        snapshot.fetch(URL)
    assert not snapshot.place(URL).exists()
    publish(FILES, claimed={"model.safetensors": sha256(FILES["model.safetensors"])})
    assert contents(snapshot.fetch(URL).folder) == FILES


def test_what_was_half_fetched_gets_no_name_and_is_gone_on_with(server: Server, publish: Publish) -> None:
    publish(FILES)
    missing = server.resources.pop(f"/owner/repo/resolve/{COMMIT}/sub/vocab.txt")
    with pytest.raises(DownloadError):
        snapshot.fetch(URL)
    assert snapshot.cached(URL) is None
    assert not snapshot.place(URL).exists()
    server.resources[f"/owner/repo/resolve/{COMMIT}/sub/vocab.txt"] = missing
    assert contents(snapshot.fetch(URL).folder) == FILES


def test_files_of_an_earlier_state_of_a_branch_do_not_stay(server: Server, publish: Publish) -> None:
    publish({"old.bin": b"old", "z.bin": b"z"})
    del server.resources[f"/owner/repo/resolve/{COMMIT}/z.bin"]
    with pytest.raises(DownloadError):
        snapshot.fetch(URL)
    publish(FILES, commit=COMMIT[::-1])
    assert contents(snapshot.fetch(URL).folder) == FILES


def test_a_damaged_snapshot_is_fetched_again_as_it_was(publish: Publish) -> None:
    publish(FILES)
    path = snapshot.fetch(URL).folder / "model.safetensors"
    path.write_bytes(b"x" * 3000)
    with pytest.raises(WeightsError, match=r"is damaged or changed: model\.safetensors \(1 files\)"):
        snapshot.verify(URL)
    with pytest.warns(WeightsWarning, match="must be fetched again"), pytest.raises(DownloadError, match="export"):
        snapshot.fetch(URL, offline=True)
    with pytest.warns(WeightsWarning, match="must be fetched again"):
        assert contents(snapshot.fetch(URL).folder) == FILES
    assert snapshot.verify(URL).commit == COMMIT


def test_damage_that_hides_behind_size_and_time_is_found_by_verify(publish: Publish) -> None:
    publish(FILES)
    path = snapshot.fetch(URL).folder / "model.safetensors"
    before = path.stat()
    path.write_bytes(b"x" * 3000)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    snapshot.fetch(URL)
    with pytest.raises(WeightsError, match="damaged or changed"):
        snapshot.verify(URL)


def test_a_copied_cache_is_hashed_once(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(FILES)
    path = snapshot.fetch(URL).folder / "config.json"
    os.utime(path, ns=(1, 1))
    assert contents(snapshot.fetch(URL, offline=True).folder) == FILES
    monkeypatch.setattr(snapshot, "file_digest", lambda _: pytest.fail("hashed again"))
    snapshot.fetch(URL, offline=True)


def test_offline_says_where_to_put_a_copy(publish: Publish, server: Server) -> None:
    folder = snapshot.place(URL)
    with pytest.raises(DownloadError, match="the network is off") as caught:
        snapshot.fetch(URL, offline=True)
    assert str(folder) in str(caught.value)
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "HEAD").write_text("ref")
    for name, body in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(body)
    with pytest.warns(WeightsWarning, match="put there by hand"):
        got = snapshot.fetch(URL, offline=True)
    assert set(got.facts) == set(FILES)
    (folder / "config.json").write_text("{}")
    with pytest.warns(WeightsWarning), pytest.raises(DownloadError):
        snapshot.fetch(URL, offline=True)
    assert server.seen == []


@pytest.mark.parametrize("name", ["../out.bin", "a/../../out.bin", "/etc/passwd", "a\\b", "con:x", "."])
def test_names_that_leave_the_folder_are_refused(publish: Publish, cache: Path, name: str) -> None:
    publish({"config.json": b"{}", name: b"evil"})
    with pytest.raises(WeightsError, match="is no name that a weights file can have"):
        snapshot.fetch(URL)
    assert leftovers(cache) == []


def test_two_threads_fetch_once(server: Server, publish: Publish) -> None:
    publish(FILES)
    threads = [threading.Thread(target=snapshot.fetch, args=(URL,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert contents(snapshot.place(URL)) == FILES
    assert len([path for path, _, _ in server.seen if path.startswith("/api/")]) == 1


@pytest.mark.parametrize("url", ["hf://owner/repo", "hf://owner/repo/file@v1", "https://x.org/y@z", "hf://owner@v1"])
def test_other_links_are_no_repositories(url: str) -> None:
    with pytest.raises(UsageError, match="is not hf://owner/repository@revision"):
        snapshot.place(url)


def test_an_unknown_repository_is_one_sentence(server: Server) -> None:
    with pytest.raises(DownloadError, match=r"hf://owner/repo@v1") as caught:
        snapshot.fetch(URL)
    assert "\n" not in str(caught.value)

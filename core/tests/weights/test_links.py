"""Asking whether published weights are still there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from omlab.weights import links
from omlab.weights.entries import Entry

from .making import described
from .serving import BODY, Resource, Server

PAGE = Resource(body=b"<!DOCTYPE html><html></html>", kind="text/html")
DRIVE = "https://drive.google.com/file/d/1HReH6dDrEuXgHPrsw7OrHSjvEUF3f4mv/view"


def ask(url: str, **changes: Any) -> links.Link:
    entry = Entry(model="net", tag="first", licence="L.", file=described(url, **changes))
    (found,) = links.check([entry])
    assert (found.name, found.what, found.url) == ("net.first", "w.bin", url)
    assert "\n" not in found.detail
    return found


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_is_there(server: Server, *, ranges: bool) -> None:
    server.resources["/w"] = Resource(ranges=ranges)
    found = ask(f"{server.url}/w")
    assert (found.state, found.size, found.detail) == ("ok", len(BODY), "")
    assert server.ranges == ["bytes=0-0"]
    assert ask(f"{server.url}/w", body=None).state == "ok"


@pytest.mark.parametrize(
    ("resource", "state", "detail"),
    [
        (None, "gone", "any more (404)"),
        (Resource(faults=[("status", 410)]), "gone", "any more (410)"),
        (Resource(faults=[("status", 418)]), "gone", "answers 418"),
        (PAGE, "gone", "a web page instead of w.bin"),
        (Resource(body=BODY[1:]), "other size", f"{len(BODY) - 1} bytes are offered, and the card says {len(BODY)}."),
        (Resource(faults=[("status", 403)]), "refused", "refuses access (403)"),
        (Resource(faults=[("status", 503)]), "ok", ""),  # the second time it is there
        (Resource(faults=[("status", 503)] * 2), "no answer", "answers 503"),
        (Resource(faults=[("status", 501)]), "no answer", "answers 501"),
    ],
)
def test_what_servers_say(server: Server, resource: Resource | None, state: str, detail: str) -> None:
    if resource is not None:
        server.resources["/w"] = resource
    found = ask(f"{server.url}/w")
    assert found.state == state
    assert detail in found.detail


def test_nobody_listens() -> None:
    with Server() as unused:
        url = unused.url
    found = ask(f"{url}/w")
    assert (found.state, found.size) == ("no answer", None)
    assert "connection failed" in found.detail


def test_google_drive(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMLAB_DRIVE_URL", server.url)
    server.resources["/download"] = Resource()
    assert ask(DRIVE).state == "ok"
    for page, status, state in (
        ("Quota exceeded", 200, "refused"),
        ("Sign in", 200, "refused"),
        ("Not found", 404, "gone"),
        ("Something new", 200, "no answer"),
    ):
        body = f"<html><title>{page}</title></html>".encode()
        server.resources["/download"] = Resource(body=body, kind="text/html", status=status)
        assert ask(DRIVE).state == state, page


def test_the_hub(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    commit = "0123456789abcdef0123456789abcdef01234567"
    server.resources["/o/r/resolve/v1/w.bin"] = Resource(etag='"abc"', headers={"X-Repo-Commit": commit})
    assert ask("hf://o/r/w.bin@v1").state == "ok"
    assert ask("hf://o/r/w.bin@v1", size=3).state == "other size"
    missing = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
    server.resources["/o/r/resolve/v1/none.bin"] = Resource(status=404, headers=missing)
    assert ask("hf://o/r/none.bin@v1").state == "gone"
    gated = {"X-Error-Code": "GatedRepo"}
    server.resources["/o/r/resolve/v1/gated.bin"] = Resource(status=403, headers=gated)
    assert ask("hf://o/r/gated.bin@v1").state == "refused"

    info = {"id": "o/r", "sha": commit, "siblings": [{"rfilename": "a", "size": 3}, {"rfilename": "b", "size": 4}]}
    server.resources["/api/models/o/r/revision/v1"] = Resource(body=json.dumps(info).encode(), kind="application/json")
    (found,) = links.check([Entry(model="big", tag="v1", licence="L.", repository="hf://o/r@v1")])
    assert (found.state, found.size, found.what) == ("ok", 7, "o/r")
    gone = {"X-Error-Code": "RepoNotFound"}
    server.resources["/api/models/o/r/revision/v1"] = Resource(status=404, headers=gone)
    (found,) = links.check([Entry(model="big", tag="v1", licence="L.", repository="hf://o/r@v1")])
    assert found.state == "gone"


def test_local_files_and_the_order_of_many(server: Server, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"abc")
    assert ask((tmp_path / "w.bin").as_uri(), size=3).state == "ok"
    assert ask((tmp_path / "none.bin").as_uri()).state == "gone"
    entries = [
        Entry(model="net", tag=f"t{n}", licence="L.", file=described(f"{server.url}/{n}", body=None)) for n in range(20)
    ]
    for n in range(0, 20, 2):
        server.resources[f"/{n}"] = Resource(body=b"x" * (n + 1), pause=0.01)
    found = links.check(entries)
    assert [link.name for link in found] == [entry.name for entry in entries]
    assert [link.state for link in found] == ["ok", "gone"] * 10

"""Google Drive, played by a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from omlab import weights
from omlab.errors import DownloadError

from .making import described, leftovers
from .serving import BODY, Resource, Server

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

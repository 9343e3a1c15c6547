"""Bundles: weights on their way to a machine without a network."""

from __future__ import annotations

import errno
import io
import json
import os
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from omlab import weights
from omlab.errors import DownloadError, OmlabError, OutputError, UsageError, WeightsError, WeightsWarning
from omlab.weights import bundle, snapshot
from omlab.weights.entries import Entry

from .making import described, leftovers, sha256

LINK = "https://example.org/"
REPOSITORY = "hf://owner/repo@v1"
FILES = {"config.json": b"{}", "sub/model.bin": b"m" * 5000}


def entry(name: str, body: bytes, *, published: bool = True) -> Entry:
    """A file that lies in the cache."""
    changes = {} if published else {"sha256": None, "size": None}
    file = described(f"{LINK}{name}", body=body, name=name, **changes)
    path = weights.place(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return Entry(model="net", tag=name.partition(".")[0], licence=f"Licence of {name}.", file=file)


def repository() -> Entry:
    """A snapshot that lies in the cache."""
    content = snapshot.place(REPOSITORY).parent / "new"
    for name, body in FILES.items():
        (content / name).parent.mkdir(parents=True, exist_ok=True)
        (content / name).write_bytes(body)
    snapshot.keep(REPOSITORY, content, commit="c" * 40, sha256={name: sha256(body) for name, body in FILES.items()})
    return Entry(model="big", tag="v1", licence="Licence of the folder.", repository=REPOSITORY)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """Go to another machine, which has no network."""

    def go() -> Path:
        monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "elsewhere"))
        monkeypatch.setenv("OMLAB_OFFLINE", "1")
        return tmp_path / "elsewhere"

    return go


def test_what_was_exported_is_used_on_another_machine(tmp_path: Path, elsewhere: Callable[[], Path]) -> None:
    one, two, folder = entry("one.bin", b"1" * 3000), entry("two.bin", b"2" * 10), repository()
    manifest = bundle.write([one, two, folder], tmp_path / "b.tar")
    assert [(row.model, row.tag, row.licence) for row in manifest.weights] == [
        ("net", "one", "Licence of one.bin."),
        ("net", "two", "Licence of two.bin."),
        ("big", "v1", "Licence of the folder."),
    ]
    cache = elsewhere()
    placed = bundle.read(tmp_path / "b.tar")
    assert [(one.path, one.was_there) for one in placed] == [
        (one.place(), False),
        (two.place(), False),
        (folder.place(), False),
    ]
    assert [e.fetch().is_relative_to(cache) for e in (one, two, folder)] == [True] * 3
    assert one.place().read_bytes() == b"1" * 3000
    assert {name: path.read_bytes() for name, path in snapshot.members(folder.place())} == FILES
    assert snapshot.verify(REPOSITORY).commit == "c" * 40
    assert leftovers(cache) == sorted(["one.bin", "two.bin", "config.json", "model.bin"])
    assert all(one.was_there for one in bundle.read(tmp_path / "b.tar"))


def test_a_bundle_is_plain_tar_with_each_content_once(tmp_path: Path) -> None:
    entries = [entry("one.bin", b"same"), entry("two.bin", b"same"), repository()]
    bundle.write(entries, tmp_path / "a.tar")
    bundle.write(entries, tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar", "r:") as archive:
        names = archive.getnames()
        shown = json.loads(archive.extractfile("manifest.json").read())  # type: ignore[union-attr]
    contents = [b"same", *FILES.values()]
    assert names == ["manifest.json", *(f"files/{sha256(body)}" for body in contents)]
    assert [row["licence"] for row in shown["weights"]] == [e.licence for e in entries]


def test_the_same_content_goes_to_several_places(tmp_path: Path, elsewhere: Callable[[], Path]) -> None:
    entries = [entry("one.bin", b"same"), entry("two.bin", b"same")]
    bundle.write(entries, tmp_path / "b.tar")
    elsewhere()
    bundle.read(tmp_path / "b.tar")
    assert [e.place().read_bytes() for e in entries] == [b"same"] * 2


def test_a_sha256_that_only_the_first_download_gave_is_kept(tmp_path: Path, elsewhere: Callable[[], Path]) -> None:
    unpublished = entry("one.bin", b"body", published=False)
    with pytest.warns(WeightsWarning, match="gives no sha256"):
        bundle.write([unpublished], tmp_path / "b.tar")
    elsewhere()
    with pytest.warns(WeightsWarning, match="gives no sha256"):
        bundle.read(tmp_path / "b.tar")
    assert unpublished.fetch().read_bytes() == b"body"
    unpublished.place().write_bytes(b"other")
    with pytest.raises(WeightsError, match=r"another version than in the bundle: run 'omlab weights remove net\.one'"):
        bundle.read(tmp_path / "b.tar")
    assert unpublished.place().read_bytes() == b"other"


def test_damage_before_the_export_is_not_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMLAB_OFFLINE", "1")
    damaged = entry("one.bin", b"body")
    damaged.place().write_bytes(b"BODY")
    with pytest.raises(DownloadError, match="is damaged or changed"):
        bundle.write([damaged], tmp_path / "b.tar")
    assert not list(tmp_path.glob("*.tar"))
    assert not list(tmp_path.glob(".omlab*"))


def test_what_is_not_published_or_has_no_room_is_not_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.bin").write_bytes(b"x")
    mine = described((tmp_path / "mine.bin").as_uri(), body=b"x", name="mine.bin")
    for wrong, said in (
        (Entry(model="net", tag="mine", licence="L.", file=mine), "of yours: copy it as it is"),
        (Entry(model="net", tag="far", licence="L.", endpoint="https://x.org"), "nothing on this machine"),
    ):
        with pytest.raises(UsageError, match=said):
            bundle.write([wrong], tmp_path / "b.tar")
    (tmp_path / "there.tar").write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists already"):
        bundle.write([entry("one.bin", b"1")], tmp_path / "there.tar")
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(OutputError, match="choose another place"):
        bundle.write([entry("one.bin", b"1")], tmp_path / "b.tar")
    assert not (tmp_path / "b.tar").exists()


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A small bundle of a file and a folder."""
    bundle.write([entry("one.bin", b"1" * 1000), repository()], tmp_path / "good.tar")
    return tmp_path / "good.tar"


def test_a_truncated_bundle_leaves_nothing(good: Path, tmp_path: Path, elsewhere: Callable[[], Path]) -> None:
    content, cache = good.read_bytes(), elsewhere()
    whole = content.rstrip(b"\0")
    for length in (0, 1, 511, 512, 600, *range(1024, len(whole), 700)):
        (tmp_path / "cut.tar").write_bytes(content[:length])
        with pytest.raises(WeightsError, match=r"cut\.tar is"):
            bundle.read(tmp_path / "cut.tar")
        assert leftovers(cache) == []
        assert not list(cache.rglob("*.import/*"))


def test_no_flipped_byte_ends_under_a_name(good: Path, tmp_path: Path, elsewhere: Callable[[], Path]) -> None:
    content, cache = good.read_bytes(), elsewhere()
    for at in range(0, len(content.rstrip(b"\0")), 97):
        flipped = bytearray(content)
        flipped[at] ^= 4
        (tmp_path / "bad.tar").write_bytes(flipped)
        try:
            placed = bundle.read(tmp_path / "bad.tar")
        except OmlabError as error:
            assert "\n" not in str(error)  # noqa: PT017 - some bytes, such as those of a licence, are free
            assert leftovers(cache) == []
            continue
        for one in placed:
            digests = {member.name: member.sha256 for member in one.row.files}
            paths = snapshot.members(one.path) if one.path.is_dir() else [(one.path.name, one.path)]
            assert {name: sha256(path.read_bytes()) for name, path in paths} == digests
            weights.cache.remove_folder(one.path.parent)


def member(name: str, body: bytes = b"evil", **changes: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(body)
    for key, value in changes.items():
        setattr(info, key, value)
    return info, body


def crafted(path: Path, rows: Any, *members: tuple[tarfile.TarInfo, bytes], **options: Any) -> Path:
    """A bundle made by somebody who means harm."""
    text = json.dumps({"omlab_weights_bundle": 1, "weights": rows}).encode()
    with tarfile.open(path, options.pop("mode", "w"), **{"format": tarfile.GNU_FORMAT, **options}) as archive:
        for info, body in [member("manifest.json", text), *members]:
            archive.addfile(info, io.BytesIO(body))
    return path


def row(**changes: Any) -> dict[str, Any]:
    listed = [{"name": "w.bin", "size": 4, "sha256": sha256(b"evil"), "published": True}]
    facts = {"model": "net", "tag": "x", "licence": "None.", "url": f"{LINK}w.bin", "kind": "file", "files": listed}
    return {**facts, **changes}


def files(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "size": 4, "sha256": sha256(b"evil")} for name in names]


EVIL = member(f"files/{sha256(b'evil')}")


def repo(*names: str) -> dict[str, Any]:
    return row(kind="repository", url=REPOSITORY, files=files(*names))


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [row(files=files("../w.bin"))],
        [row(files=files(".."))],
        [row(files=files("/tmp/w.bin"))],
        [row(files=files("a/w.bin"))],
        [row(files=files("w.bin", "v.bin"))],
        [row(files=files("C:\\w.bin"))],
        [row(files=files("w\0.bin"))],
        [row(url="file:///etc/passwd")],
        [row(url="/etc/passwd")],
        [row(url="http://example.org/w.bin")],
        [row(url="ftp://example.org/w.bin")],
        [row(model="../net")],
        [row(licence="")],
        [row(more=1)],
        [row(files=[{**files("w.bin")[0], "size": -1}])],
        [row(files=[{**files("w.bin")[0], "sha256": "../" + "0" * 61}])],
        [row(), row(files=[{**row()["files"][0], "sha256": "0" * 64, "published": True}], url="hf://a/b@c")],
        [repo("a", "A")],
        [repo("a", "a/b")],
        [repo("a/../../b")],
        [repo("a//b")],
        [row(kind="repository", url="hf://owner/..@v1", files=files("a"))],
        [row(files=files("w.bin")), row(files=[{"name": "w.bin", "size": 4, "sha256": "0" * 64}])],
    ],
)
def test_a_manifest_that_lies_is_refused(tmp_path: Path, elsewhere: Callable[[], Path], rows: Any) -> None:
    cache = elsewhere()
    with pytest.raises(WeightsError, match="is not a bundle of weights") as caught:
        bundle.read(crafted(tmp_path / "evil.tar", rows, EVIL))
    assert "\n" not in str(caught.value)
    assert leftovers(cache) == []


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([], "1 of its 1 files are not in it"),
        ([EVIL, EVIL], "is not what its manifest says"),
        ([EVIL, member("../../out.txt")], r"'\.\./\.\./out\.txt' in it is not what its manifest says"),
        ([member("files/" + "0" * 64)], "is not what its manifest says"),
        ([member(f"files/{sha256(b'evil')}", b"EVIL")], "has the sha256"),
        ([member(f"files/{sha256(b'evil')}", b"evil!")], "is not what its manifest says"),
        ([member(f"files/{sha256(b'evil')}", b"", type=tarfile.SYMTYPE, linkname="/etc")], "is not a plain file"),
        ([member(f"files/{sha256(b'evil')}", b"", type=tarfile.LNKTYPE, linkname="/etc")], "is not a plain file"),
        ([member("x" * 300)], "is not a plain file"),  # what says that a long name follows
        ([member("pipe", b"", type=tarfile.FIFOTYPE)], "is not a plain file"),
    ],
)
def test_an_archive_that_lies_is_refused(
    tmp_path: Path, elsewhere: Callable[[], Path], members: Any, said: str
) -> None:
    cache = elsewhere()
    with pytest.raises(WeightsError, match=said):
        bundle.read(crafted(tmp_path / "evil.tar", [row()], *members))
    assert leftovers(cache) == []
    assert not (tmp_path / "out.txt").exists()


def test_other_files_are_no_bundles(tmp_path: Path, elsewhere: Callable[[], Path]) -> None:
    elsewhere()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("hello " * 200)
    with tarfile.open(tmp_path / "other.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("hello.txt"))
    crafted(tmp_path / "packed.tar.gz", [row()], EVIL, mode="w:gz")
    crafted(tmp_path / "pax.tar", [row()], member("manifest.json", pax_headers={"comment": "x" * 2000}), format=2)
    for name, said in (
        ("pipe", "is a pipe"),
        ("none", "There is no weights file"),
        ("text", "is damaged or not a bundle"),
        ("other.tar", r"does not begin with manifest\.json"),
        ("packed.tar.gz", "damaged or not a bundle|truncated or not a bundle"),
        ("pax.tar", "is not a plain file"),
    ):
        with pytest.raises(WeightsError, match=said):
            bundle.read(tmp_path / name)


def test_memory_does_not_grow_with_the_file(tmp_path: Path, elsewhere: Callable[[], Path]) -> None:
    large = entry("large.bin", b"x" * (48 << 20))
    tracemalloc.start()
    bundle.write([large], tmp_path / "b.tar")
    elsewhere()
    bundle.read(tmp_path / "b.tar")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_file_of_more_than_eight_gigabytes_has_a_header_that_is_read_again(tmp_path: Path) -> None:
    info = tarfile.TarInfo("files/" + "0" * 64)
    info.size = 9 << 33
    stream = io.BytesIO(info.tobuf(tarfile.GNU_FORMAT))
    assert bundle._header(stream, tmp_path) == (info.name, info.size)


def test_no_room_and_a_full_disk(good: Path, elsewhere: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    cache = elsewhere()
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=100))
        with pytest.raises(DownloadError, match="make room, or set OMLAB_CACHE"):
            bundle.read(good)

    read_content = bundle._content

    def full(stream: Any, size: int, path: Path) -> Iterator[bytes]:
        if size == 1000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return read_content(stream, size, path)

    monkeypatch.setattr(bundle, "_content", full)
    with pytest.raises(DownloadError, match="No space left on device"):
        bundle.read(good)
    assert leftovers(cache) == []


def test_what_a_killed_import_left_is_removed(good: Path, elsewhere: Callable[[], Path]) -> None:
    cache = elsewhere()
    left = cache / "weights" / ".import" / "half"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    bundle.read(good)
    assert not left.parent.exists()

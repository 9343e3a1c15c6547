"""Prepared cases: made once however many ask, read without being read whole, mended where damaged."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Mapping
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from numpy.typing import NDArray

from omlab.errors import OmlabWarning, OutputError, TrainingError
from omlab_train.cache import Entry, PreparedCache

KEY, OTHER = "0123456789abcdef", "fedcba9876543210"


class Maker:
    """Makes an image and labels, and counts how often; its marks in a folder are seen across processes."""

    def __init__(self, marks: Path | None = None, *, value: float = 1.0) -> None:
        self.marks, self.value, self.calls = marks, value, 0

    def __call__(self) -> Mapping[str, NDArray[Any]]:
        self.calls += 1
        if self.marks is not None:
            (self.marks / f"{os.getpid()}-{time.monotonic_ns()}").touch()
            time.sleep(0.3)
        return {"image": np.full((2, 3, 4), self.value, np.float32), "labels": np.arange(12, dtype=np.uint8)[::2]}


def test_an_entry_is_made_once(tmp_path: Path) -> None:
    cache, make = PreparedCache(tmp_path / "new"), Maker()
    first, second = cache.get(KEY, make), PreparedCache(tmp_path / "new").get(KEY, make)
    assert make.calls == 1
    for entry in (first, second):
        assert list(entry) == ["image", "labels"]
        assert isinstance(entry["image"], np.memmap)
        assert np.array_equal(entry["image"], np.ones((2, 3, 4)))
        assert np.array_equal(entry["labels"], [0, 2, 4, 6, 8, 10])
        with pytest.raises(ValueError, match="read-only"):
            entry["image"][0, 0, 0] = 5
    cache.get(OTHER, make)
    assert make.calls == 2


def test_an_entry_is_sent_as_its_place(tmp_path: Path) -> None:
    entry = PreparedCache(tmp_path).get(KEY, lambda: {"image": np.zeros((100, 100, 100), np.float32)})
    sent = ForkingPickler.dumps(entry)  # what worker processes are sent with
    assert len(sent) < 1000
    received: Entry = ForkingPickler.loads(sent)
    assert np.array_equal(received["image"], entry["image"])


def open_files() -> int:
    listed = Path("/proc/self/fd")
    return len(list(listed.iterdir())) if listed.exists() else 0


def test_many_entries_hold_no_file_open(tmp_path: Path) -> None:
    cache = PreparedCache(tmp_path)
    kept = [cache.get(f"{n:016x}", Maker()) for n in range(20)]
    before = open_files()
    total = sum(float(entry["image"].sum()) for entry in kept)
    after = open_files()
    assert total == 20 * 24
    assert after <= before + 2


def race(folder: Path, marks: Path, results: Any) -> None:
    results.put(float(PreparedCache(folder).get(KEY, Maker(marks))["image"].sum()))


def test_processes_that_race_make_it_once(tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    children = [context.Process(target=race, args=(tmp_path / "cache", tmp_path / "marks", results)) for _ in range(4)]
    for child in children:
        child.start()
    assert [results.get(timeout=60) for _ in children] == [24.0] * 4
    for child in children:
        child.join()
    assert len(list((tmp_path / "marks").iterdir())) == 1


DAMAGES = {
    "truncated": lambda place: os.truncate(place / "image.npy", 150),
    "empty": lambda place: (place / "labels.npy").write_bytes(b""),
    "absent": lambda place: (place / "labels.npy").unlink(),
    "another": lambda place: np.save(place / "image.npy", np.zeros((2, 3, 4))),
    "no array": lambda place: (place / "image.npy").write_bytes(b"x" * 500),
    "no record": lambda place: (place / "entry.json").unlink(),
    "half a record": lambda place: (place / "entry.json").write_text('{"image": '),
    "a strange record": lambda place: (place / "entry.json").write_text('[["image"]]'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_made_anew(tmp_path: Path, damage: str) -> None:
    cache, make = PreparedCache(tmp_path), Maker()
    cache.get(KEY, make)
    DAMAGES[damage](tmp_path / KEY)
    with pytest.warns(OmlabWarning, match="is damaged; it is made anew"):
        entry = cache.get(KEY, make)
    assert make.calls == 2
    assert np.array_equal(entry["image"], np.ones((2, 3, 4)))
    assert {path.name for path in tmp_path.iterdir()} == {KEY, f"{KEY}.lock"}


def test_nothing_partial_is_left(tmp_path: Path) -> None:
    cache = PreparedCache(tmp_path)

    def broken() -> Mapping[str, NDArray[Any]]:
        raise TrainingError("The case is broken.")

    with pytest.raises(TrainingError, match="The case is broken"):
        cache.get(KEY, broken)
    with pytest.raises(ValueError, match="Object arrays"):
        cache.get(KEY, lambda: {"a": np.zeros(3), "b": np.array([object()])})
    assert {path.name for path in tmp_path.iterdir()} == {f"{KEY}.lock"}
    (tmp_path / f".{KEY}.partial").mkdir()  # of a process that was killed
    (tmp_path / f".{KEY}.partial" / "image.npy").write_bytes(b"half")
    assert np.array_equal(cache.get(KEY, Maker())["image"], np.ones((2, 3, 4)))
    assert {path.name for path in tmp_path.iterdir()} == {KEY, f"{KEY}.lock"}


def test_a_full_disk_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(OutputError, match="the disk is full"):
        PreparedCache(tmp_path).get(KEY, Maker())
    assert {path.name for path in tmp_path.iterdir()} == {f"{KEY}.lock"}


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="set OMLAB_CACHE to a folder of yours"):
        PreparedCache(tmp_path / "file").get(KEY, Maker())


def test_the_folder_is_in_omlabs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path))
    PreparedCache().get(KEY, Maker())
    assert (tmp_path / "prepared" / KEY / "image.npy").is_file()


@pytest.mark.parametrize("key", ["", "../../../../etc/passwd", "0123456789ABCDEF", "short", "0123456789abcdeg"])
def test_a_key_is_a_digest(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        PreparedCache(tmp_path).get(key, Maker())
    with pytest.raises(ValueError, match="cannot have the name"):
        PreparedCache(tmp_path).get(KEY, lambda: {"../a": np.zeros(1)})


def test_what_nobody_asked_for_in_months_is_removed_when_another_is_made(tmp_path: Path) -> None:
    keys = [f"{n:016x}" for n in range(4)]
    entries = {}
    for days, key in zip((200, 100, 80, 0), keys, strict=True):
        entries[key] = PreparedCache(tmp_path).get(key, Maker())
        os.utime(tmp_path / key / "entry.json", (time.time() - days * 86_400,) * 2)
    PreparedCache(tmp_path).get(keys[0], Maker())  # asked for again: now the youngest
    PreparedCache(tmp_path).get(KEY, Maker())
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {keys[0], keys[2], keys[3], KEY}
    with pytest.raises(TrainingError, match="is gone or damaged"):
        entries[keys[1]]["image"]


def test_what_somebody_else_made_and_may_alone_remove_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, old = PreparedCache(tmp_path), f"{1:016x}"
    cache.get(old, Maker())
    os.utime(tmp_path / old / "entry.json", (0, 0))
    rename = Path.rename

    def refused(path: Path, target: Path) -> Path:
        if path.name == old:
            raise PermissionError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refused)
    assert "image" in PreparedCache(tmp_path).get(KEY, Maker())
    assert (tmp_path / old / "image.npy").is_file()


def test_pruning_says_how_much_it_freed(tmp_path: Path) -> None:
    cache = PreparedCache(tmp_path)
    cache.get(KEY, Maker())
    size = sum(path.stat().st_size for path in (tmp_path / KEY).iterdir())
    assert cache.prune(days=1) == 0
    assert cache.prune(days=-1) == size
    assert PreparedCache(tmp_path / "nothing").prune(days=0) == 0


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z0-9_]{1,8}", fullmatch=True),
        arrays_of.arrays(
            st.sampled_from([np.float32, np.uint8, np.int64, np.bool_]), arrays_of.array_shapes(min_dims=0, min_side=0)
        ),
        max_size=3,
    ),
    st.integers(0, 2**64),
)
def test_any_array_comes_back(
    tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, NDArray[Any]], key: int
) -> None:
    found = PreparedCache(tmp_path_factory.mktemp("cache")).get(f"{key:017x}", lambda: arrays)
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array, equal_nan=array.dtype.kind == "f")

"""The store of bags: lazy, whole or not there, and the same bytes whenever the work was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import omlab
from omlab.errors import InputError, OutputError
from omlab_slide.bag import Bag, ComputedFeatures, chunk_rows
from omlab_slide.store.form import PROGRESS
from omlab_slide.store.zarr_store import BagStore, StoredFeatures
from omlab_slide.testing import draw_slide, example_bags, held
from omlab_slide.tissue import Tissue, tissue
from omlab_testkit.networks import as_sent

WIDTH, ROWS = 3, 4


class Killed(BaseException):
    """What a test kills the work with: nothing that would clean up catches it."""


def computed(count: int, asked: list[int] | None = None) -> ComputedFeatures:
    """Row n is (n, n, n); `asked` notes the chunks that were computed."""

    def compute(first: int) -> Generator[NDArray[np.float32]]:
        for start in range(first * ROWS, count, ROWS):
            if asked is not None:
                asked.append(start // ROWS)
            rows = np.arange(start, min(start + ROWS, count), dtype=np.float32)
            yield np.repeat(rows[:, None], WIDTH, axis=1)

    return ComputedFeatures(shape=(count, WIDTH), rows=ROWS, compute=compute)


@cache
def found_tissue() -> tuple[tuple[int, int], Tissue]:
    slide = held(draw_slide((600, 500), seed=5), mpp=4.0)
    return slide.dimensions, tissue(slide)


def bag_of(count: int = 18, asked: list[int] | None = None) -> Bag:
    dimensions, found = found_tissue()
    return Bag(
        features=computed(count, asked),
        coords=np.array([(8 * n, n) for n in range(count)], np.int32),
        share=np.linspace(0.5, 1, count).astype(np.float16),
        size0=8,
        dimensions=dimensions,
        mpp=0.5,
        size=4,
        target_mpp=1.0,
        overlap=1,
        tissue=found,
        encoder={"name": "toy", "weights": {"tag": "untrained", "sha256": None}},
        slide={"name": "a.svs", "sampled_sha256": "0" * 64},
    )


def tree(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # what another thread was writing has got its name meanwhile
            if path.is_file():
                found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def test_what_is_written_is_read_lazily(tmp_path: Path) -> None:
    bag, path = bag_of(), tmp_path / "a.bag.zarr"
    omlab.write(bag, path)
    again = omlab.read(path)
    assert isinstance(again, Bag)
    assert isinstance(again.features, StoredFeatures)
    assert (again.features[3:7] == np.array([[n] * WIDTH for n in range(3, 7)])).all()
    assert (again.features[np.array([17, 2])][:, 0] == [17, 2]).all()
    assert (np.asarray(again.features) == bag.features[:]).all()
    assert (again.coords == bag.coords).all()
    assert (again.share == bag.share).all()
    assert again.tissue is not None
    assert bag.tissue is not None
    assert (again.tissue.mask == bag.tissue.mask).all()
    assert len(again.tissue.polygons) == len(bag.tissue.polygons) > 0
    for ours, theirs in zip(again.tissue.polygons, bag.tissue.polygons, strict=True):
        assert (ours.outer == theirs.outer).all()
        assert len(ours.holes) == len(theirs.holes)
    for name in ("size0", "dimensions", "mpp", "size", "target_mpp", "overlap", "encoder", "slide"):
        assert getattr(again, name) == getattr(bag, name), name
    assert not list(path.rglob(f"{PROGRESS}*"))
    sent = as_sent(again, what="the bag")
    assert (sent.features[:2] == again.features[:2]).all()


def test_it_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        BagStore().write(bag_of(), tmp_path / f"{name}.bag.zarr")
    assert tree(tmp_path / "a.bag.zarr") == tree(tmp_path / "b.bag.zarr")
    loaded = bag_of().loaded()
    BagStore().write(replace(loaded), tmp_path / "c.bag.zarr")
    again = omlab.read(tmp_path / "c.bag.zarr")
    assert isinstance(again, Bag)
    assert (again.features[:] == loaded.features).all()


def test_written_where_a_bag_is_it_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "case.bag.zarr"
    omlab.write(bag_of(18), path)
    omlab.write(bag_of(7), path)
    again = omlab.read(path)
    assert isinstance(again, Bag)
    assert len(again) == 7
    omlab.write(replace(again, size=9), path)  # read while it is replaced
    assert np.array_equal(omlab.read(path).features[:], bag_of(7).loaded().features)
    with pytest.raises(ZeroDivisionError):
        omlab.write(replace(bag_of(), features=replace(computed(18), compute=lambda first: 1 // 0)), path)
    assert len(omlab.read(path)) == 7
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_killed_anywhere_it_is_gone_on_with_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, left = tmp_path / "whole.bag.zarr", list[Path]()
    really, one_by_one = Path.replace, threading.Lock()

    def replace_and_keep(self: Path, target: Any) -> Any:
        """What is there before and after a file gets its name is what a killed process would leave."""
        with one_by_one:
            left.append(copy_of(path, tmp_path / f"{len(left)}.bag.zarr"))
            found = really(self, target)
            left.append(copy_of(path, tmp_path / f"{len(left)}.bag.zarr"))
        return found

    monkeypatch.setattr(Path, "replace", replace_and_keep)  # zarr and we put every file in its place by it
    BagStore().write(bag_of(), path)
    monkeypatch.undo()
    wanted = tree(path)
    assert len(left) > 40
    for folder in left:
        BagStore().write(bag_of(), folder)
        assert tree(folder) == wanted, folder.name


def copy_of(folder: Path, to: Path) -> Path:
    for name, content in tree(folder).items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_bytes(content)
    return to


def test_only_what_is_missing_is_computed_again(tmp_path: Path) -> None:
    path, asked = tmp_path / "a.bag.zarr", list[int]()
    first = bag_of()

    def stop(number: int) -> Generator[NDArray[np.float32]]:
        for position, chunk in enumerate(computed(18).compute(number)):
            if position == 2:
                raise Killed
            yield chunk

    broken = replace(first, features=replace(first.features, compute=stop))
    with pytest.raises(Killed):
        BagStore().write(broken, path)
    with pytest.raises(InputError, match="is not whole"):
        omlab.read(path)
    BagStore().write(bag_of(asked=asked), path)
    assert asked == [2, 3, 4]
    with pytest.warns(UserWarning, match="whole already"):
        BagStore().write(bag_of(asked=asked), path)
    assert asked == [2, 3, 4]
    with pytest.raises(OutputError, match="exists already"):
        BagStore().write(replace(bag_of(), size0=9), path)


def test_what_was_begun_of_another_bag_is_begun_anew(tmp_path: Path) -> None:
    path, asked = tmp_path / "a.bag.zarr", list[int]()
    BagStore().write(bag_of(), path)
    (path / PROGRESS).write_text('{"what": "other", "done": 3}')
    BagStore().write(bag_of(asked=asked), path)
    assert asked == [0, 1, 2, 3, 4]
    (path / PROGRESS).write_text('{"what"')  # torn
    BagStore().write(bag_of(asked=asked), path)
    assert tree(path).keys() == tree(path).keys() - {PROGRESS}


KILL_ME = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_bag_store import bag_of
from omlab_slide.bag import ComputedFeatures
from omlab_slide.store.zarr_store import BagStore
from dataclasses import replace
bag = bag_of(400)
def slowly(first):
    for chunk in bag.features.compute(first):
        time.sleep(0.01)
        yield chunk
BagStore().write(replace(bag, features=replace(bag.features, compute=slowly)), Path(sys.argv[1]))
"""


def test_a_killed_process_leaves_what_another_goes_on_with(tmp_path: Path) -> None:
    path = tmp_path / "a.bag.zarr"
    code = KILL_ME.format(tests=str(Path(__file__).parent))
    with subprocess.Popen([sys.executable, "-c", code, str(path)]) as process:
        deadline = time.monotonic() + 60
        while not (path / "features" / "c" / "5").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    assert (path / PROGRESS).exists()
    asked: list[int] = []
    BagStore().write(bag_of(400, asked), path)
    assert asked[0] >= 5
    BagStore().write(bag_of(400), tmp_path / "b.bag.zarr")
    assert tree(path) == tree(tmp_path / "b.bag.zarr")


def test_what_is_no_bag_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.bag.zarr"
    BagStore().write(bag_of(), path)
    (path / "features" / "c" / "1" / "0").unlink()
    with pytest.raises(InputError, match="lacks chunks"):
        omlab.read(path).features[:]  # type: ignore[attr-defined]
    (path / "features" / "c" / "2" / "0").write_bytes(b"short")
    with pytest.raises(InputError, match="damaged or cut short"):
        omlab.read(path).features[8:]  # type: ignore[attr-defined]
    (path / "coords" / "zarr.json").unlink()
    with pytest.raises(InputError, match="no 'coords'"):
        omlab.read(path)
    other = tmp_path / "b.bag.zarr"
    BagStore().write(bag_of(), other)
    described = other / "zarr.json"
    described.write_text(described.read_text().replace('"version": 1', '"version": 7'))
    with pytest.raises(InputError, match="version 7"):
        omlab.read(other)
    described.write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        omlab.read(other)


def test_chunks_are_about_a_megabyte() -> None:
    assert chunk_rows(768, np.float32) == 256
    assert chunk_rows(768, np.float16) == 512
    assert chunk_rows(1 << 30, np.float32) == 1


def test_a_bag_that_does_not_fit_itself_is_refused() -> None:
    bag = example_bags()[0]
    with pytest.raises(InputError, match="features"):
        replace(bag, features=bag.features[:-1])
    with pytest.raises(InputError, match="float16 or float32"):
        replace(bag, features=bag.features.astype(np.float64))
    with pytest.raises(InputError, match="at least one patch"):
        replace(bag, coords=bag.coords[:0])


def test_a_bag_says_how_much_tissue_it_shows() -> None:
    bag = replace(bag_of(2), share=np.array([1.0, 0.5], np.float16), overlap=0)
    assert bag.area == pytest.approx(1.5 * (8 * 0.5 / 1000) ** 2)
    assert "2 patches of 4 um" in bag.in_words()
    assert replace(bag, mpp=None).area is None
    assert not replace(bag, features=np.full((2, 1), np.nan, np.float32)).is_finite()

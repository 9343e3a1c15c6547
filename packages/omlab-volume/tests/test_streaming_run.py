"""A model that streams, as a run: a folder of chunks as its result, killed and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import tifffile

import omlab
from omlab.errors import OmlabError
from omlab.plugins import installed
from omlab.registry import registry
from omlab_volume.big.payloads import big
from omlab_volume.volume import Volume

STREAMER = Path(__file__).parent / "streamer"


@pytest.fixture
def streamer(tmp_path, monkeypatch):
    """The toy `streamer` beside this package, and a volume of noise."""
    site = tmp_path / "site"
    info = site / "omlab_streamer-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: omlab-streamer\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[omlab]\nstreamer = omlab_streamer.plugin\n")
    (site / "omlab_streamer").mkdir()
    for file in STREAMER.iterdir():
        if file.is_file():
            (site / "omlab_streamer" / file.name).write_text(file.read_text())
    others = [point.name for point in entry_points(group="omlab") if point.name != "volume"]
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("OMLAB_PLUGINS_OFF", ",".join(others))
    monkeypatch.chdir(tmp_path)
    for cached in (installed, registry):
        cached.cache_clear()
    array = np.random.default_rng(0).integers(0, 4000, (1, 20, 20, 48)).astype(np.uint16)
    volume = big(Volume(array=array, affine=np.diag([0.004, 0.004, 0.003, 1])))
    omlab.write(volume, "brain.ome.zarr")
    yield site
    for cached in (installed, registry):
        cached.cache_clear()
    for name in [name for name in sys.modules if name.startswith("omlab_streamer")]:
        del sys.modules[name]


def same(first, second):
    one, other = (omlab.read(place, kind="big-labelmap") for place in (first, second))
    return one.same_grid(other) and np.array_equal(one.loaded().array, other.loaded().array)


def test_from_a_stack_as_from_chunks(streamer):
    omlab.predict("streamer", "brain.ome.zarr", output="a.ome.zarr", overlay="a.png", device="cpu")
    array = omlab.read("brain.ome.zarr", kind="big-volume").loaded().array[0]
    Path("slices").mkdir()
    for number, plane in enumerate(array.transpose(2, 1, 0)):
        tifffile.imwrite(f"slices/{number}.tif", plane)
    spacing = {"": {"spacing": [4, 4, 3]}}
    omlab.predict("streamer", "slices", output="b.ome.zarr", device="cpu", read_settings=spacing)
    assert same("a.ome.zarr", "b.ome.zarr")
    found = omlab.read("a.ome.zarr", kind="big-labelmap")
    assert found.same_grid(omlab.read("brain.ome.zarr", kind="big-volume"))
    assert set(np.unique(found.loaded().array)) == {0, 1}
    told = json.loads(Path("a.json").read_text())["structures"]["axon"]
    assert told["ml"] > 0 < told["margin"] < 1
    assert json.loads(Path("b.json").read_text())["structures"]["axon"] == told
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")
    assert omlab.predict("streamer", "brain.ome.zarr", output="a.ome.zarr", device="cpu").was_complete


def test_a_damaged_chunk_fails_its_case(streamer):
    chunk = next(file for file in Path("brain.ome.zarr/0/c").rglob("*") if file.is_file())
    chunk.write_bytes(chunk.read_bytes()[:10])
    outcome = omlab.predict("streamer", "brain.ome.zarr", output="a.ome.zarr", device="cpu")
    (failed,) = outcome.failed
    assert "brain.ome.zarr cannot be read at z, y, x =" in failed.reason
    assert "chunk there is damaged" in failed.reason
    assert not Path("a.ome.zarr").exists()


def test_what_it_cannot_be_written_to(streamer):
    with pytest.raises(OmlabError, match=r"cannot be written to a.nii.gz; suffixes that would do: .ome.zarr, .zarr"):
        omlab.predict("streamer", "brain.ome.zarr", output="a.nii.gz", device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_ends_is_gone_on_with(streamer, how):
    omlab.predict("streamer", "brain.ome.zarr", output="whole.ome.zarr", device="cpu")
    all_windows = len(Path("asked.txt").read_text())
    Path("asked.txt").unlink()
    Path("hold").write_text(str(all_windows // 2))
    command = [sys.executable, "-m", "omlab", "predict", "streamer", "brain.ome.zarr", "-o", "a.ome.zarr"]
    process = subprocess.Popen(
        [*command, "--device", "cpu"],
        env={**os.environ, "PYTHONPATH": str(streamer)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 120
    while not Path("held").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(how)
    time.sleep(0.5)
    Path("hold").unlink()
    assert process.wait(timeout=60) != 0
    assert not Path("a.ome.zarr").exists()
    Path("asked.txt").unlink()
    omlab.predict("streamer", "brain.ome.zarr", output="a.ome.zarr", device="cpu")
    assert all_windows // 3 < len(Path("asked.txt").read_text()) < all_windows * 3 // 4
    assert same("a.ome.zarr", "whole.ome.zarr")
    assert Path("a.json").read_text() == Path("whole.json").read_text()
    assert not list(Path().glob(".a.ome.zarr*"))

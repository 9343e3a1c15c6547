"""Results that are folders, computed while they are written, and gone on with where an earlier start was stopped."""

import json
from pathlib import Path

import pytest

import omlab
from omlab import progress
from omlab.cases import cases_in
from omlab.errors import OutputError
from omlab.formats import read_format
from omlab.jobs.running import Interrupted
from omlab.records import CaseLog
from omlab.stamps import stamp

pytestmark = pytest.mark.usefixtures("here")

CARDS = """
[[payload]]
name = "heap"
summary = "Stones that are found while they are written."
entry = "omlab_heaps.plugin:Heap"
licence = "Apache-2.0"
[[format]]
name = "heaps"
summary = "A folder with a file for each stone."
entry = "omlab_heaps.plugin:Heaps"
licence = "Apache-2.0"
suffixes = [".heap"]
folders = true
resumes = true
lazy = true
reads = ["heap"]
writes = ["heap"]
default_for = ["heap"]
pictured = ["heap"]
[[format]]
name = "quarry"
summary = "A folder of stones without a name."
entry = "omlab_heaps.plugin:Heaps"
licence = "Apache-2.0"
suffixes = [".stone"]
folders = true
reads = ["heap"]
[[format]]
name = "cairns"
summary = "A heap whose suffix is longer."
entry = "omlab_heaps.plugin:Heaps"
licence = "Apache-2.0"
suffixes = [".cairn.heap"]
folders = true
reads = ["heap"]
[[model]]
name = "heaper"
summary = "As many stones as the signal has numbers."
entry = "omlab_heaps.plugin:load"
licence = "Apache-2.0"
citation = "none"
intended_use = "Tests."
limits = "Everything else."
[model.does.predict]
takes = { signal = "signal" }
gives = "heap"
"""

PLUGIN = """
from pathlib import Path
from omlab import hookimpl, progress, read_cards
OMLAB_HOOK_API = 2

@hookimpl
def omlab_models():
    return read_cards(__package__, "model")

@hookimpl
def omlab_payloads():
    return read_cards(__package__, "payload")

@hookimpl
def omlab_formats():
    return read_cards(__package__, "format")

class Heap:
    kind = "heap"
    def __init__(self, count, stones=None):
        self.count = count
        self.stones = stones

    def overlay(self, inputs, *, target=None):
        return f"{sorted(self.stones)} of {self.count}".encode()  # None where it was not read again

class Heaps:
    def read(self, path, *, kind):
        stones = [file.name for file in path.iterdir()]
        return Heap(len(stones), stones)

    def write(self, payload, path, *, inputs):
        path.mkdir(exist_ok=True)
        with progress.bar("stones", total=payload.count) as advance:
            for number in range(payload.count):
                if not (path / f"{number}.stone").exists():
                    with open("made.txt", "a") as stream:
                        stream.write(f"{number} ")
                    (path / f"{number}.stone").write_text(f"stone {number}")
                if Path("stop").exists() and number == int(Path("stop").read_text()):
                    HOW[0]()
                advance(1)

class Heaper:
    def predict(self, batch, /):
        return [Heap(len(case["signal"].values)) for case in batch]

HOW = [lambda: None]

def load(card, *, weights, needs, device, settings, config):
    return Heaper()
"""


@pytest.fixture
def heaps(install, toy):
    files = {"omlab_heaps/__init__.py": "", "omlab_heaps/plugin.py": PLUGIN, "omlab_heaps/cards.toml": CARDS}
    install("omlab-heaps", entry_points={"heaps": "omlab_heaps.plugin"}, files=files)


@pytest.fixture
def stop_at(heaps):
    """Have the writing stopped at a stone, as by `how`."""

    def stop(number, how):
        import omlab_heaps.plugin

        Path("stop").write_text(str(number))
        omlab_heaps.plugin.HOW[0] = how

    return stop


def made():
    found = Path("made.txt").read_text().split()
    Path("made.txt").unlink()
    return [int(number) for number in found]


def interrupt():
    raise KeyboardInterrupt


def disk_is_full():
    raise OutputError("The disk is full.")


@pytest.mark.parametrize(("how", "error"), [(interrupt, Interrupted), (disk_is_full, OutputError)])
@pytest.mark.parametrize("output", ["one.heap", "run/"])
def test_a_stopped_result_is_gone_on_with(heaps, stop_at, signal, how, error, output):
    path = signal("a.sig", [1, 2, 3, 4])
    stop_at(1, how)
    with pytest.raises(error):
        omlab.predict("heaper", path, output=output)
    assert made() == [0, 1]
    assert not Path("one.heap").exists()  # nothing partial under its name
    assert not Path("run").exists()
    Path("stop").unlink()
    assert omlab.predict("heaper", path, output=output).is_whole
    assert made() == [2, 3]
    place = Path("one.heap") if output == "one.heap" else Path("run/a.heap")
    assert sorted(file.name for file in place.iterdir()) == [f"{n}.stone" for n in range(4)]
    assert not list(Path().glob(".*.run*"))


def test_other_inputs_begin_anew(heaps, stop_at, signal):
    stop_at(1, interrupt)
    with pytest.raises(Interrupted):
        omlab.predict("heaper", signal("a.sig", [1, 2, 3]), output="one.heap")
    made()
    Path("stop").unlink()
    omlab.predict("heaper", signal("a.sig", [5, 6, 7]), output="one.heap")
    assert made() == [0, 1, 2]


def test_a_folder_is_one_output_and_is_not_made_again(heaps, signal):
    path = signal("a.sig", [1, 2])
    omlab.predict("heaper", path, output="run/")
    rows = CaseLog(Path("run")).get("a").outputs
    assert [(row["path"], row["role"], row["kind"], row["sampled"]) for row in rows] == [
        ("a.heap", "main", "heap", True)
    ]
    made()
    assert omlab.predict("heaper", path, output="run/").was_complete
    assert not Path("made.txt").exists()
    (Path("run") / "a.heap" / "1.stone").write_text("another stone")
    omlab.predict("heaper", path, output="run/")
    assert made() == [0, 1]
    assert (Path("run") / "a.heap" / "1.stone").read_text() == "stone 1"


def test_the_picture_is_of_what_was_written(heaps, signal):
    omlab.predict("heaper", signal("a.sig", [1, 2]), output="one.heap", overlay="picture.png")
    assert Path("picture.png").read_text() == "['0.stone', '1.stone'] of 2"


def test_one_folder_again_is_nothing_to_do(heaps, signal):
    path = signal("a.sig", [1, 2])
    omlab.predict("heaper", path, output="one.heap")
    for output in ("one.heap", "one.heap/"):
        assert omlab.predict("heaper", path, output=output).was_complete
    assert json.loads(Path("one.heap.run.json").read_text())["cases"][0]["outputs"][0]["path"] == "one.heap"


def test_a_folder_is_told_by_its_name_else_by_what_it_holds(heaps):
    for name in ("a.heap", "a.cairn.heap", "b"):
        Path(name).mkdir()
        Path(name, "1.stone").write_text("")
    assert read_format(Path("a.heap"), "heap").name == "heaps"
    assert read_format(Path("a.cairn.heap"), "heap").name == "cairns"  # the longest suffix tells, as of files
    assert read_format(Path("b"), "heap").name == "quarry"
    Path("both").mkdir()
    Path("a.heap").rename("both/a.heap")
    Path("both/c.heap").mkdir()
    assert [case.id for case in cases_in([Path("both")], "heap", name="heap")] == ["a", "c"]
    Path("both/run.json").write_text("{}")  # as in the folder of a run, whose results are the next inputs
    assert [case.id for case in cases_in([Path("both")], "heap", name="heap")] == ["a", "c"]


def test_a_folder_is_known_by_its_names_sizes_and_blocks(here):
    def known(folder, **files):
        Path(folder).mkdir()
        for name, text in files.items():
            Path(folder, name).write_text(text)
        return stamp(Path(folder), digest=True, sampled=True)

    first = known("first", a="one", b="two")
    assert first.sampled
    assert first.size == 6
    assert known("copy", a="one", b="two").sha256 == first.sha256
    assert known("renamed", a="one", c="two").sha256 != first.sha256
    assert known("changed", a="one", b="too").sha256 != first.sha256


def test_a_bar_can_be_ended(here):
    from threading import Event

    stopped, seen = Event(), []
    with progress.stoppable(stopped), progress.bar("steps", total=3) as advance:
        advance(1)
        seen.append(1)
        stopped.set()
        with pytest.raises(KeyboardInterrupt):
            advance(1)
    assert seen == [1]

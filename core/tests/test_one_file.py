"""Results in one file: of one case, or of many where the format collects them."""

import json
from pathlib import Path

import pytest

import omlab
from omlab.errors import OutputError, UsageError
from omlab.jobs.running import Interrupted

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def scans(signal):
    for number in (2, 10, 1):
        folder = signal(f"{number}.sig", [number, number]).parent
    return folder


def names(folder="."):
    return sorted(path.name for path in Path(folder).iterdir())


def test_results_of_all_cases_are_collected_in_the_order_of_their_ids(scans):
    omlab.embed("embedder", scans, output="out", batch=1)
    assert names("out") == ["cases.jsonl", "embed.csv", "records.bin", "run.json"]
    assert Path("out/embed.csv").read_text() == "1,1.0,2.0\n10,10.0,2.0\n2,2.0,2.0\n"
    described = json.loads(Path("out/run.json").read_text())
    assert described["collected"] == {"path": "embed.csv", "format": "vectors"}


def test_a_collected_file_is_extended(scans, signal):
    omlab.embed("embedder", scans, output="out")
    signal("3.sig", [3])
    signal("2.sig", [20])
    Path(scans / "10.sig").write_text("prose")
    outcome = omlab.embed("embedder", scans, output="out")
    assert outcome.counts == (3, 1)
    assert Path("out/embed.csv").read_text() == "1,1.0,2.0\n2,20.0,1.0\n3,3.0,1.0\n"


def test_many_cases_go_into_one_file_where_the_format_collects(scans):
    outcome = omlab.embed("embedder", scans, output="vectors.csv")
    assert outcome.counts == (3, 0)
    assert names() == ["vectors.csv", "vectors.csv.run.json"]
    assert Path("vectors.csv").read_text() == "1,1.0,2.0\n10,10.0,2.0\n2,2.0,2.0\n"
    assert omlab.embed("embedder", scans, output="vectors.csv").was_complete
    with pytest.raises(OutputError, match="is the result of another request"):
        omlab.embed("embedder", scans / "1.sig", output="vectors.csv")
    with pytest.raises(UsageError, match="3 inputs cannot go into one file"):
        omlab.predict("adder", scans, output="out.sig")


def test_where_a_case_failed_the_file_is_made_again(scans, signal):
    (scans / "10.sig").write_text("prose")
    assert omlab.embed("embedder", scans, output="vectors.csv").counts == (2, 1)
    signal("10.sig", [5])
    assert omlab.embed("embedder", scans, output="vectors.csv").counts == (3, 0)
    assert "10,5.0,1.0" in Path("vectors.csv").read_text()


def test_where_all_cases_failed_nothing_is_left(scans):
    for path in scans.iterdir():
        path.write_text("prose")
    assert omlab.embed("embedder", scans, output="vectors.csv").counts == (0, 3)
    assert names() == []


def test_an_interrupted_file_leaves_nothing_that_bears_its_name(signal):
    with pytest.raises(Interrupted):
        omlab.predict("breaker", signal("a.sig", [1]), output="out.sig", settings={"way": "stop"})
    assert names() == []


def test_a_users_file_that_would_stand_beside_is_not_replaced(signal):
    Path("out.notes").write_text("mine")
    outcome = omlab.predict("adder", signal("a.sig", [1]), output="out.sig")
    assert outcome.cases["a"].warnings == ["out.notes exists already and was left as it is."]
    assert Path("out.notes").read_text() == "mine"
    assert omlab.read("out.sig").values == [2]
    assert names() == ["out.notes", "out.sig", "out.sig.run.json"]


def test_a_collected_result_has_no_picture(scans):
    with pytest.raises(UsageError, match="A vector has no picture"):
        omlab.embed("embedder", scans, output="out", overlay="pictures/")


@pytest.mark.parametrize("folder", ["run.v2", "report.xlsx/"])
def test_a_folder_may_have_a_dot_in_its_name(signal, folder):
    omlab.predict("adder", signal("a.sig", [1]), output=folder)
    assert "a.sig.txt" in names(folder)


def test_another_format_by_name(signal):
    omlab.predict("adder", signal("a.sig", [1]), output="out", as_format="signal-notes")
    assert "a.notes" in names("out")
    assert "a.sig.txt" not in names("out")

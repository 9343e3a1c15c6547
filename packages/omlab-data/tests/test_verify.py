"""Verification: what it finds, what the command prints, and the page that it leaves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROWS = [f"{n},{n}.line,{n}-marks.line,p{n},{'test' if n > 3 else 'train'}" for n in range(6)]
HEADER = "id,line,target,group,split"


def test_a_good_table_is_counted(table):
    data = table(HEADER, *ROWS)
    assert list(data.verify()) == []
    assert data.about("train").classes == {1: "label 1", 2: "label 2"}
    counts = data.findings().splits["train"]
    assert (counts.cases, counts.targets, len(counts.groups)) == (4, 4, 4)
    assert counts.classes == {"label 1": 4, "label 2": 1}


@pytest.mark.parametrize(
    ("break_it", "problem"),
    [
        (lambda at: at("1.line", "0 1 2"), "The input 'line' has the same content in the cases 0, 1."),
        (lambda at: at("3-marks.line", "1 1"), "3: the target, a marks, lies on another grid than the input"),
        (lambda at: at("3.line", "zero"), "3: .* holds something else than numbers"),
        (lambda at: at("4-marks.line", "7 7 7"), "4: the target has the value 7, which is no class"),
        (lambda at: Path("5.line").unlink(), "The file .*5.line is missing"),
        (lambda at: at("2-marks.line", "0 1 1"), "in test, but in no case of train, cannot be learned: spleen"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(table, break_it, problem):
    data = table(HEADER, *ROWS, classes="liver,spleen")
    break_it(lambda name, text: Path(name).write_text(text))
    (found,) = data.verify()
    assert __import__("re").search(problem, found), found


def test_what_all_cases_share_is_no_double(table):
    rows = [f"{n},{n}.line,0.line,{'test' if n > 3 else 'train'}" for n in range(6)]
    data = table("id,line,atlas,split", *rows)
    assert list(data.verify()) == []


@pytest.fixture
def run(toy, folder):
    environment = {**os.environ, "PYTHONPATH": str(toy), "COLUMNS": "80"}

    def omlab(*arguments):
        command = [sys.executable, "-m", "omlab", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=120)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    return omlab


def test_the_command_says_what_is_there_and_leaves_a_page(table, run):
    table(HEADER, *ROWS)
    status, out, err = run("datasets", "verify", "cases", "list.csv", "-o", "page")
    assert (status, err) == (0, "")
    assert out.splitlines()[:4] == [
        "inputs: line (line); target: marks",
        "classes: 1 label 1, 2 label 2",
        "train: 4 cases, 4 groups",
        "test: 2 cases, 2 groups",
    ]
    assert "Nothing is wrong." in out
    page = Path("page/data.html").read_text()
    assert page.count("data:image/png") == 6
    assert "label 2" in page


def test_the_command_ends_with_1_where_something_is_wrong(table, run):
    table(HEADER, *ROWS, ROWS[0])
    status, out, err = run("datasets", "verify", "cases", "list.csv", "--json")
    assert status == 1
    facts = json.loads(out)
    assert facts["splits"]["train"] == {"cases": 5, "groups": 4}
    assert "1 id is there twice: '0' (lines 2 and 8)" in facts["problems"][0]
    status, _, err = run("datasets", "verify", "cases", "none.csv")
    assert status == 2
    assert "none.csv does not exist" in err


def test_a_page_needs_its_extra(table, folder, monkeypatch):
    from omlab.errors import MissingDependencyError

    monkeypatch.setitem(sys.modules, "omlab_report", None)
    with pytest.raises(MissingDependencyError, match="pip install omlab-report"):
        table(HEADER, *ROWS).report(folder / "page")

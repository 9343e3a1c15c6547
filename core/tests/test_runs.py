"""A run that has its name is whole; what is missing is done again, and nothing else."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from omlab.digests import digest_of, file_digest
from omlab.errors import InputError, OmlabWarning, OutputError
from omlab.runs import open_run, partial_of, read_log

REQUEST = {"what": "test"}


def begin(final, digests=None, request=REQUEST):
    return open_run(final, kind="test", request=request, arguments={}, digests=digests)


def writer(text):
    def work(folder):
        (folder / "result.txt").write_text(text)
        return {"length": len(text)}

    return work


def test_a_run_has_its_name_only_when_it_is_whole(tmp_path):
    run = begin(tmp_path / "run")
    run.attempt("a", digest="1", inputs=[], work=writer("hello"))
    assert not (tmp_path / "run").exists()
    run.finish()
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["result.txt", "run.json"]
    assert not partial_of(tmp_path / "run").exists()
    case = read_log(tmp_path / "run")["cases"][0]
    assert case["status"] == "done"
    assert case["results"] == {"result.txt": file_digest(tmp_path / "run" / "result.txt")}
    assert case["values"] == {"length": 5}


def test_a_complete_run_is_not_done_again(tmp_path):
    run = begin(tmp_path / "run", {"a": "1"})
    run.attempt("a", digest="1", inputs=[], work=writer("hello"))
    run.finish()
    assert begin(tmp_path / "run", {"a": "1"}) is None


@pytest.mark.parametrize("damage", ["changed", "removed", "input"])
def test_what_no_longer_holds_is_done_again(tmp_path, damage):
    run = begin(tmp_path / "run", {"a": "1"})
    run.attempt("a", digest="1", inputs=[], work=writer("hello"))
    run.finish()
    result = tmp_path / "run" / "result.txt"
    if damage == "changed":
        result.write_text("jello")
    elif damage == "removed":
        result.unlink()
    digest = "2" if damage == "input" else "1"
    again = begin(tmp_path / "run", {"a": digest})
    assert again is not None
    assert not again.is_done("a", digest)
    again.attempt("a", digest=digest, inputs=[], work=writer("hello"))
    again.finish()
    assert result.read_text() == "hello"


def test_a_failed_case_keeps_its_reason_and_leaves_nothing(tmp_path):
    def work(folder):
        (folder / "half.txt").write_text("half")
        raise InputError("scan.nii is broken.")

    run = begin(tmp_path / "run")
    run.attempt("a", digest="1", inputs=[], work=work)
    run.attempt("b", digest="2", inputs=[], work=writer("fine"))
    run.finish()
    log = read_log(tmp_path / "run")
    assert log["status"] == "some failed"
    assert [(c["status"], c["reason"]) for c in log["cases"]] == [("failed", "scan.nii is broken."), ("done", "")]
    assert not list((tmp_path / "run").rglob("half.txt"))


def test_a_bug_fails_its_case_with_the_traceback_in_the_log(tmp_path):
    def work(folder):
        raise ZeroDivisionError("oops")

    run = begin(tmp_path / "run")
    case = run.attempt("a", digest="1", inputs=[], work=work)
    assert case.reason == "unexpected ZeroDivisionError: oops"
    assert "Traceback" in case.values["traceback"]
    run.abandon()


def test_our_warnings_are_kept_with_their_case_and_others_pass_on(tmp_path):
    import warnings

    def work(folder):
        warnings.warn("tilted", OmlabWarning, stacklevel=1)
        return {}

    run = begin(tmp_path / "run")
    assert run.attempt("a", digest="1", inputs=[], work=work).warnings == ["tilted"]

    def other(folder):
        warnings.warn("somebody else's", FutureWarning, stacklevel=1)
        return {}

    case = run.attempt("b", digest="1", inputs=[], work=other)
    assert case.reason == "unexpected FutureWarning: somebody else's"  # the test run makes warnings errors
    run.abandon()


def test_two_processes_cannot_write_one_run(tmp_path):
    run = begin(tmp_path / "run")
    with pytest.raises(OutputError, match="Another process"):
        begin(tmp_path / "run")
    run.abandon()


@pytest.mark.parametrize("content", ["file", "folder", "other run"])
def test_a_place_that_is_taken_is_left_alone(tmp_path, content):
    place = tmp_path / "run"
    if content == "file":
        place.write_text("mine")
    elif content == "folder":
        place.mkdir()
        (place / "thesis.docx").write_text("mine")
    else:
        begin(place, request={"what": "else"}).finish()
    with pytest.raises(OutputError, match="choose another output"):
        begin(place)
    assert place.exists()
    assert not partial_of(place).exists()


def test_an_empty_folder_is_used(tmp_path):
    (tmp_path / "run").mkdir()
    begin(tmp_path / "run", {"a": "1"}).finish()
    assert (tmp_path / "run" / "run.json").is_file()


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a file stands where a folder is needed"):
        begin(tmp_path / "file" / "run")


def test_a_full_disk_ends_the_run_and_leaves_nothing_partial(tmp_path, monkeypatch):
    run = begin(tmp_path / "run")
    monkeypatch.setattr(Path, "replace", lambda self, target: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OutputError, match="the disk is full") as full:
        run.attempt("a", digest="1", inputs=[], work=writer("hello"))
    assert full.value.exit_status == 1
    monkeypatch.undo()
    assert not run.abandon()
    assert not partial_of(tmp_path / "run").exists()


KILLED = """
import sys, time
from pathlib import Path
from omlab.runs import open_run
run = open_run(Path(sys.argv[1]), kind="test", request={"what": "test"}, arguments={})
def quick(folder):
    (folder / "first.txt").write_text("first")
    return {}
def slow(folder):
    (folder / "second.txt").write_text("half")
    print("half done", flush=True)
    time.sleep(60)
run.attempt("a", digest="1", inputs=[], work=quick)
run.attempt("b", digest="2", inputs=[], work=slow)
"""


def test_a_killed_run_goes_on_where_it_stopped(tmp_path):
    final = tmp_path / "run"
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(final)], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "half done\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert not final.exists()
    assert not list(partial_of(final).glob("second.txt"))
    run = begin(final, {"a": "1", "b": "2"})
    assert run.is_done("a", "1")
    assert not run.is_done("b", "2")
    run.attempt("b", digest="2", inputs=[], work=lambda folder: (folder / "second.txt").write_text("whole") and {})
    run.finish()
    assert sorted(p.name for p in final.iterdir()) == ["first.txt", "run.json", "second.txt"]


def test_the_log_says_what_is_needed_to_repeat_the_run(tmp_path):
    begin(tmp_path / "run").finish()
    log = json.loads((tmp_path / "run" / "run.json").read_text())
    assert log["environment"]["packages"]["omlab-core"]
    assert log["environment"]["python"].count(".") == 2
    assert log["request"] == REQUEST
    assert time.strptime(log["started"][:10], "%Y-%m-%d")


def test_a_file_digest_is_its_sha256(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert file_digest(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_digests_do_not_depend_on_the_order_of_keys(tmp_path):
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    (tmp_path / "x").write_text("one")
    before = file_digest(tmp_path)
    (tmp_path / "x").write_text("two")
    assert file_digest(tmp_path) != before

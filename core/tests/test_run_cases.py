"""Runs of cases that are nothing but files: done once, resumed, in parts, summed up."""

import json
from pathlib import Path

import pytest

from omlab import FileCase, run_cases
from omlab.errors import InputError, OmlabError, OutputError, PluginError, UsageError
from omlab.jobs.running import Interrupted
from omlab.records import CaseLog, Role
from omlab.roles import Metric, Report

REQUEST = {"command": "count"}


@pytest.fixture(autouse=True)
def _here(site, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class Count:
    """Counts the words of files and writes them down; remembers what it was asked for."""

    def __init__(self):
        self.done = []
        self.stop_at = ""

    def __call__(self, case, folder):
        if case.id == self.stop_at:
            raise KeyboardInterrupt
        self.done.append(case.id)
        words = case.files["text"][0].read_text().split()
        if "broken" in words:
            raise InputError(f"{case.id} is broken.")
        (folder / f"{case.id}.txt").write_text("\n".join(words))
        return {"rows": [{"words": len(words)}]}

    def report(self, rows, folder):
        words = sum(row["words"] for case in rows.values() for row in case)
        (folder / "report.html").write_text(f"{words} words")
        return Report(metrics=[Metric(name="words", value=words, n=len(rows))], details={"cases": list(rows)})


@pytest.fixture
def count():
    return Count()


def write(**texts):
    for name, text in texts.items():
        Path(f"{name}.src").write_text(text)


def cases(*names):
    return [FileCase(id=name, files={"text": [Path(f"{name}.src")]}) for name in names]


def run(count, *names, output="out", request=REQUEST, **more):
    count.done.clear()
    return run_cases(cases(*names), count, output=output, request=request, kind="count", report=count.report, **more)


def stored(folder):
    return json.loads((folder / "report.json").read_text())


def test_cases_are_done_logged_and_summed_up(count, tmp_path):
    write(a="one two", b="three")
    outcome = run(count, "a", "b", arguments={"patience": 3})
    assert outcome.exit_status == 0
    assert outcome.report.metrics[0].value == 3
    names = ["a.txt", "b.txt", "cases.jsonl", "report.html", "report.json", "run.json"]
    assert sorted(path.name for path in outcome.place.iterdir()) == names
    log = json.loads((tmp_path / "out" / "run.json").read_text())
    assert log["request"] == REQUEST
    assert log["arguments"] == {"patience": 3, "output": "out"}
    record = CaseLog(tmp_path / "out").get("a")
    assert record.values == {"rows": [{"words": 2}]}
    assert record.main() == ["a.txt"]


def test_files_of_a_case_have_the_role_that_they_are_given(count, tmp_path):
    write(a="one")

    def role(name):
        return Role("picture" if name.endswith(".txt") else "main", "plain")

    (record,) = run(count, "a", role=role)
    assert [(row["path"], row["role"], row["format"]) for row in record.outputs] == [("a.txt", "picture", "plain")]
    (record,) = run(count, "a", output="other")
    assert [row["role"] for row in record.outputs] == ["main"]


def test_files_too_large_to_be_read_through_are_told_by_parts_of_them(count):
    write(a="one")
    sampled = [FileCase(id="a", files={"text": [Path("a.src")]}, sampled=["text"])]
    more = {"output": "out", "request": REQUEST, "kind": "count", "report": count.report}
    (record,) = run_cases(sampled, count, **more)
    assert record.inputs["text"][0]["sampled"]
    write(a="one")  # touched
    assert run_cases(sampled, count, **more).was_complete
    write(a="two")
    assert not run_cases(sampled, count, **more).was_complete


def test_a_second_start_has_nothing_to_do(count):
    write(a="one two", b="three")
    run(count, "a", "b")
    again = run(count, "a", "b", arguments={"patience": 9})
    assert again.was_complete
    assert count.done == []
    assert again.report.metrics == [Metric(name="words", value=3, n=2)]
    assert again.report.details == {"cases": ["a", "b"]}


def test_a_changed_file_a_new_case_and_a_lost_report_are_seen(count, tmp_path):
    write(a="one two", b="three")
    run(count, "a", "b")
    write(b="three four five", c="six")
    outcome = run(count, "c", "b", "a")
    assert count.done == ["c", "b"]
    assert outcome.report.metrics[0].value == 6
    assert outcome.report.details["cases"] == ["c", "b", "a"]  # as they were given
    assert (tmp_path / "out" / "b.txt").read_text() == "three\nfour\nfive"
    (tmp_path / "out" / "report.json").unlink()
    assert run(count, "a", "b", "c").report.metrics[0].value == 6
    assert count.done == []


def test_a_case_that_is_gone_leaves_nothing_behind(count, tmp_path):
    write(a="one two", b="broken", c="three")
    assert run(count, "a", "b", "c").exit_status == 1
    outcome = run(count, "c")
    assert not outcome.was_complete
    assert outcome.exit_status == 0
    assert outcome.report.details["cases"] == stored(tmp_path / "out")["cases"] == ["c"]
    assert [record.id for record in outcome] == ["c"]
    assert not (tmp_path / "out" / "a.txt").exists()
    assert run(count, "c").was_complete


def test_a_folder_of_a_case_that_is_gone_goes_too(tmp_path):
    write(a="one", c="three")

    def unfold(case, folder):
        (folder / f"{case.id}.parts").mkdir()
        (folder / f"{case.id}.parts" / "first").write_text(case.id)
        return {"rows": []}

    for chosen in (cases("a", "c"), cases("c")):
        run_cases(chosen, unfold, kind="count", output="out", request=REQUEST, role=lambda name: Role("main"))
    assert [path.name for path in (tmp_path / "out").glob("*.parts")] == ["c.parts"]


def test_a_case_that_fails_is_done_again_and_no_other(count, tmp_path):
    write(a="one two", b="broken")
    outcome = run(count, "a", "b")
    assert outcome.exit_status == 1
    assert [record.reason for record in outcome.failed] == ["b is broken."]
    assert stored(tmp_path / "out")["cases"] == ["a"]
    write(b="whole")
    assert run(count, "a", "b").exit_status == 0
    assert count.done == ["b"]


def test_where_no_case_can_be_done_the_reason_is_that_of_a_case(count, tmp_path):
    write(a="broken", b="broken")
    with pytest.raises(OmlabError, match=r"^a is broken\.$") as error:
        run(count, "a", output="one")
    assert error.value.exit_status == 1
    with pytest.raises(OmlabError, match=r"^No case could be judged: a is broken\.$"):
        run(count, "a", "b")
    assert not (tmp_path / "out").exists()


def test_interrupted_it_keeps_what_is_done(count, tmp_path):
    write(a="one", b="two", c="three")
    count.stop_at = "b"
    with pytest.raises(Interrupted, match="1 case is kept"):
        run(count, "a", "b", "c")
    assert not (tmp_path / "out").exists()
    count.stop_at = ""
    assert run(count, "a", "b", "c").report.metrics[0].value == 3
    assert count.done == ["b", "c"]
    count.stop_at = "a"
    with pytest.raises(Interrupted):
        run(count, "a", output="two")
    assert not list(tmp_path.glob("two*"))


def test_in_parts_the_last_one_sums_up(count, monkeypatch):
    names = [f"case{n}" for n in range(8)]
    write(**dict.fromkeys(names, "a word"))
    monkeypatch.setenv("OMLAB_SHARD", "0/2")
    first = run(count, *names)
    assert not first.is_whole
    assert first.report is None
    done = list(count.done)
    monkeypatch.setenv("OMLAB_SHARD", "1/2")
    second = run(count, *names)
    assert second.is_whole
    assert sorted(done + count.done) == names
    assert second.report.metrics[0].value == 16
    monkeypatch.delenv("OMLAB_SHARD")
    assert run(count, *names).was_complete


def test_work_in_progress_may_be_prepared_and_is_gone_at_the_end(count, tmp_path):
    write(a="one")
    places = []

    def prepare(begun):
        places.append(begun.scratch)
        (begun.scratch / "paid").touch()

    run(count, "a", prepare=prepare)
    assert places == [tmp_path / "out.partial" / "scratch"]
    assert not (tmp_path / "out" / "scratch").exists()


def test_without_an_output_or_a_report_it_is_a_run_all_the_same(count):
    write(a="one")
    outcome = run_cases(cases("a"), count, output=None, request=REQUEST, kind="count")
    assert outcome.place.parent.name == "omlab-runs"
    assert outcome.place.name.startswith("count-")
    assert outcome.report is None
    assert run_cases(cases("a"), count, output=None, request=REQUEST, kind="count").was_complete


def test_what_cannot_be_one_run_is_refused(count, tmp_path):
    write(a="one")
    run(count, "a")
    with pytest.raises(OutputError, match="another request"):
        run(count, "a", request={"command": "other"})
    with pytest.raises(PluginError, match="two cases 'a'"):
        run(count, "a", "a", output="two")
    with pytest.raises(UsageError, match="nothing to do"):
        run(count, output="three")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["out", "site"]

"""A run that has its name is whole; what is missing is done again, and nothing else; what is not ours stays."""

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
from omlab.jobs.run_cases import FileCase
from omlab.records import CaseLog
from omlab.run_folder import partial_of, read_log
from omlab.runs import open_run
from omlab.shards import Shard

REQUEST = {"what": "test"}


def begin(final, request=REQUEST, **more):
    run = open_run(final, kind="test", request=request, arguments={}, **more)
    run.begin()
    return run


def write(run, id, text="hello", *, files=None, name=None):
    def work(folder):
        (folder / (name or f"{id}.txt")).write_text(text)
        return {"length": len(text)}

    return run.attempt(id, files=files or {}, work=work)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def final(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "scan.dat"
    path.write_text("scan")
    return path


def test_a_run_has_its_name_only_when_it_is_whole(final, scan):
    run = begin(final)
    write(run, "a", files={"volume": [scan]})
    assert not final.exists()
    assert run.finish()
    assert names(final) == ["a.txt", "cases.jsonl", "run.json"]
    assert not partial_of(final).exists()
    [row] = [json.loads(line) for line in (final / "cases.jsonl").read_text().splitlines()]
    facts = scan.stat()
    assert row["status"] == "done"
    assert row["values"] == {"length": 5}
    assert row["inputs"]["volume"] == [
        {"path": str(scan), "size": 4, "mtime_ns": facts.st_mtime_ns, "sha256": file_digest(scan)}
    ]
    output = row["outputs"][0]
    assert (output["path"], output["role"], output["sha256"]) == ("a.txt", "main", file_digest(final / "a.txt"))
    assert 0 <= row["seconds"] < 60
    assert abs(row["at"] - time.time()) < 600


def test_the_log_says_what_is_needed_to_repeat_the_run(final):
    begin(final).finish()
    log = read_log(final)
    assert log["environment"]["packages"]["omlab-core"]
    assert log["environment"]["python"].count(".") == 2
    assert log["request"] == REQUEST
    assert time.strptime(log["started"][:10], "%Y-%m-%d")
    assert log["finished"] >= log["started"]


def test_what_is_done_is_not_done_again(final, scan):
    run = begin(final)
    write(run, "a", files={"volume": [scan]})
    run.finish()
    again = open_run(final, kind="test", request=REQUEST, arguments={})
    assert again.is_whole
    assert again.missing([FileCase(id="a", files={"volume": [scan]})]) == []
    again.close()
    assert names(final) == ["a.txt", "cases.jsonl", "run.json"]


def changed(scan, final):
    scan.write_text("SCAN")


def grown(scan, final):
    scan.write_text("longer scan")


def gone(scan, final):
    (final / "a.txt").unlink()


def edited(scan, final):
    (final / "a.txt").write_text("jello")


@pytest.mark.parametrize("damage", [changed, grown, gone, edited])
def test_what_no_longer_holds_is_done_again(final, scan, damage):
    run = begin(final)
    write(run, "a", files={"volume": [scan]})
    run.finish()
    damage(scan, final)
    again = begin(final)
    case = FileCase(id="a", files={"volume": [scan]})
    assert again.missing([case]) == [case]
    write(again, "a", files={"volume": [scan]})
    again.finish()
    assert (final / "a.txt").read_text() == "hello"
    assert len(CaseLog(final)) == 1


def test_size_and_time_come_first_and_a_new_time_alone_changes_nothing(final, scan, monkeypatch):
    run = begin(final)
    write(run, "a", files={"volume": [scan]})
    run.finish()
    again = open_run(final, kind="test", request=REQUEST, arguments={})
    with monkeypatch.context() as patch:
        patch.setattr("omlab.stamps.file_digest", lambda path: pytest.fail(f"{path} was hashed"))
        assert again.is_done("a", {"volume": [scan]})
    os.utime(scan, ns=(1, 1))
    assert again.is_done("a", {"volume": [scan]})
    assert not again.is_done("a", {"volume": [scan], "prompts": [scan]})
    assert not again.is_done("a", {})
    again.close()


def test_a_first_run_in_an_extended_one_stays_in_its_place(final):
    run = begin(final)
    write(run, "a")
    run.finish()
    inode = final.stat().st_ino
    again = begin(final)
    write(again, "b")
    assert final.is_dir()  # while it is extended
    assert not partial_of(final).exists()
    again.finish()
    assert final.stat().st_ino == inode
    assert len((final / "cases.jsonl").read_text().splitlines()) == 2
    assert [record.id for record in CaseLog(final)] == ["a", "b"]


def test_unknown_fields_are_kept(final):
    run = begin(final)
    write(run, "a")
    run.finish()
    (final / "run.json").write_text(json.dumps({**read_log(final), "colour": {"deep": [1]}}))
    row = json.loads((final / "cases.jsonl").read_text())
    (final / "cases.jsonl").write_text(json.dumps({**row, "mood": "fair"}) + "\n")
    again = begin(final)
    write(again, "b")
    again.finish()
    assert read_log(final)["colour"] == {"deep": [1]}
    assert CaseLog(final).get("a").further == {"mood": "fair"}
    assert json.loads(CaseLog(final).get("a").to_line())["mood"] == "fair"


def test_the_last_line_of_a_case_wins_and_a_torn_tail_is_ignored(final):
    for text in ("first", "second"):
        run = begin(final)
        write(run, "a", text)
        run.abandon()
    log = partial_of(final) / "cases.jsonl"
    log.write_bytes(log.read_bytes() + b'{"id":"b","status":"do')
    again = begin(final)
    assert [record.id for record in again.log] == ["a"]
    write(again, "c")
    again.finish()
    assert [record.id for record in CaseLog(final)] == ["a", "c"]
    assert (final / "a.txt").read_text() == "second"
    assert all(json.loads(line) for line in (final / "cases.jsonl").read_text().splitlines())


@pytest.mark.parametrize(
    "line", ["", "[]", "5", '{"id": 5, "status": "done"}', '{"id": "a", "status": "perhaps"}', "\x00",
             '{"id": "a", "status": "done", "inputs": [1]}', '{"id": "a", "status": "done", "outputs": null}'],
)  # fmt: skip
def test_lines_that_are_no_records_are_passed_over(final, line):
    run = begin(final)
    write(run, "good")
    run.abandon()
    log = partial_of(final) / "cases.jsonl"
    log.write_text(f"{line}\n{log.read_text()}{line}\n")
    assert [record.id for record in CaseLog(partial_of(final))] == ["good"]


def test_a_failed_case_keeps_its_reason_and_leaves_nothing(final):
    def work(folder):
        (folder / "half.txt").write_text("half")
        raise InputError("scan.nii is broken.")

    run = begin(final)
    run.attempt("a", files={}, work=work)
    write(run, "b")
    run.finish()
    assert [(r.status, r.reason) for r in CaseLog(final)] == [("failed", "scan.nii is broken."), ("done", "")]
    assert names(final) == ["b.txt", "cases.jsonl", "run.json"]


def test_a_case_that_fails_now_leaves_no_result_of_before(final):
    run = begin(final)
    write(run, "a")
    run.finish()

    def work(folder):
        raise InputError("broken by now.")

    again = begin(final)
    again.attempt("a", files={}, work=work)
    again.finish()
    assert names(final) == ["cases.jsonl", "run.json"]
    assert CaseLog(final).get("a").status == "failed"


def test_files_of_an_earlier_attempt_go_where_the_later_one_has_others(final):
    run = begin(final)
    write(run, "a", name="a.old")
    run.finish()
    again = begin(final)
    write(again, "a", name="a.new")
    again.finish()
    assert names(final) == ["a.new", "cases.jsonl", "run.json"]


def test_a_bug_fails_its_case_with_place_and_traceback(final):
    def work(folder):
        raise ZeroDivisionError("oops")

    run = begin(final)
    record = run.attempt("a", files={}, work=work)
    assert record.reason.startswith("unexpected ZeroDivisionError: oops (test_runs.py, line ")
    assert "Traceback" in record.values["traceback"]
    run.abandon()


def test_our_warnings_are_kept_with_their_case(final):
    import warnings

    from omlab.warned import kept_by_case

    def work(folder):
        warnings.warn("tilted", OmlabWarning, stacklevel=1)
        return {}

    run = begin(final)
    with kept_by_case():
        assert run.attempt("a", files={}, work=work).warnings == ["tilted"]
    with pytest.warns(OmlabWarning, match="tilted"), kept_by_case(is_shown=True):
        assert run.attempt("b", files={}, work=work).warnings == ["tilted"]
    run.abandon()


def test_two_processes_cannot_write_one_run(final):
    run = begin(final)
    with pytest.raises(OutputError, match="Another process"):
        begin(final)
    write(run, "a")
    run.finish()
    extended = begin(final)
    with pytest.raises(OutputError, match="Another process"):
        begin(final)
    extended.finish()


def holding(place, content):
    if content == "a file":
        place.write_text("mine")
    elif content == "a folder":
        place.mkdir()
        (place / "thesis.docx").write_text("mine")
    elif content == "an empty folder":
        place.mkdir()
    elif content == "a dangling link":
        place.symlink_to(place.with_name("nowhere"))
    else:
        begin(place, request={"what": "else"}).finish()


@pytest.mark.parametrize("content", ["a file", "a folder", "another run", "a dangling link"])
def test_a_place_that_is_taken_is_left_alone(final, content):
    holding(final, content)
    before = names(final) if final.is_dir() else None
    with pytest.raises(OutputError, match="choose another output"):
        begin(final)
    assert os.path.lexists(final)
    assert before is None or names(final) == before
    assert not partial_of(final).exists()


@pytest.mark.parametrize("content", ["a file", "a folder", "another run", "an empty folder"])
def test_a_partial_folder_of_somebody_else_is_never_adopted(final, content):
    place = partial_of(final)
    holding(place, content)
    if content == "another run":
        assert read_log(place)
    before = names(place) if place.is_dir() else None
    with pytest.raises(OutputError, match="choose another output"):
        begin(final)
    assert before is None or names(place) == before
    assert not final.exists()


@pytest.mark.parametrize("inside", [[], ["lost+found"]])
def test_an_empty_folder_such_as_a_mount_point_is_used_as_it_is(final, inside):
    final.mkdir()
    for name in inside:
        (final / name).mkdir()
    inode = final.stat().st_ino
    run = begin(final)
    write(run, "a")
    assert not partial_of(final).exists()
    run.finish()
    assert names(final) == ["a.txt", "cases.jsonl", *inside, "run.json"]
    assert final.stat().st_ino == inode


@pytest.mark.parametrize("place", [Path("/"), Path("/..")])
def test_the_root_is_no_output(place):
    with pytest.raises(OutputError, match=r"choose another output|not a run of omlab"):
        begin(place)


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a file stands where a folder is needed"):
        begin(tmp_path / "file" / "run")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_without_rights_is_one_sentence(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="no right to write there"):
        begin(tmp_path / "run")
    tmp_path.chmod(0o700)


def test_a_full_disk_ends_the_run_and_leaves_nothing_partial(final, monkeypatch):
    run = begin(final)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda self, target: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(OutputError, match="the disk is full") as full:
            write(run, "a")
    assert full.value.exit_status == 1
    run.abandon()
    assert not (partial_of(final) / "a.txt").exists()
    again = begin(final)
    assert not again.is_done("a", {})
    write(again, "a")
    again.finish()
    assert names(final) == ["a.txt", "cases.jsonl", "run.json"]


def test_a_run_in_which_nothing_was_done_leaves_nothing(final):
    run = begin(final)
    run.scratch.mkdir(exist_ok=True)
    assert run.abandon() == 0
    assert names(final.parent) == []


def test_a_users_folder_stays_when_nothing_was_done_in_it(final):
    final.mkdir()
    run = begin(final)
    run.abandon()
    assert names(final) == []


def test_a_users_own_files_survive_whatever_happens(final):
    """In a first run that comes to nothing, in an interrupted rerun, in a rerun that replaces results."""
    run = begin(final)
    (partial_of(final) / "note.md").write_text("mine")
    run.abandon()
    assert (partial_of(final) / "note.md").read_text() == "mine"
    again = begin(final)
    write(again, "a")
    again.finish()
    (final / "records.bin.mine").write_text("mine")
    (final / "cases-old.jsonl.txt").write_text("mine")
    for end in ("abandon", "finish"):
        third = begin(final)
        write(third, "a", f"again, {end}")
        getattr(third, end)()
        assert {"note.md", "records.bin.mine", "cases-old.jsonl.txt", "a.txt"} <= set(names(final))


def test_a_users_file_in_the_way_of_a_result_is_not_replaced(final):
    run = begin(final)
    write(run, "a")
    run.finish()
    (final / "b.txt").write_text("mine")
    again = begin(final)
    with pytest.raises(OutputError, match=r"b\.txt exists already and is not of this case; move it away"):
        write(again, "b")
    again.abandon()
    assert (final / "b.txt").read_text() == "mine"


def test_what_was_done_is_counted_and_kept_when_a_run_is_abandoned(final):
    run = begin(final)
    write(run, "a")
    write(run, "b")
    assert run.abandon() == 2
    assert read_log(partial_of(final))["finished"] is None
    again = begin(final)
    assert again.is_done("a", {})
    again.finish()
    assert names(final) == ["a.txt", "b.txt", "cases.jsonl", "run.json"]


def test_notes_are_kept_once(final):
    for _ in range(2):
        run = begin(final)
        run.note("on a cpu")
        write(run, "a")
        run.finish()
    assert read_log(final)["notes"] == ["on a cpu"]


KILLED = """
import sys, time
from pathlib import Path
from omlab.runs import open_run
run = open_run(Path(sys.argv[1]), kind="test", request={"what": "test"}, arguments={})
run.begin()
def quick(folder):
    (folder / "first.txt").write_text("first")
    return {}
def slow(folder):
    (folder / "second.txt").write_text("half")
    print("half done", flush=True)
    time.sleep(60)
run.attempt("a", files={}, work=quick)
run.attempt("b", files={}, work=slow)
"""


def test_a_killed_run_goes_on_where_it_stopped(final):
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(final)], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "half done\n"
    with pytest.raises(OutputError, match="Another process"):
        begin(final)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert not final.exists()
    assert not list(partial_of(final).glob("second.txt"))
    run = begin(final)
    assert [case.id for case in run.missing([FileCase(id="a"), FileCase(id="b"), FileCase(id="c")])] == ["b", "c"]
    write(run, "c")
    run.finish()
    assert names(final) == ["c.txt", "cases.jsonl", "first.txt", "run.json"]  # nothing of the half one


@pytest.mark.parametrize("killed_before", ["line", "names", "removal"])
def test_wherever_a_process_is_killed_the_next_one_mends_it(final, monkeypatch, killed_before):
    """A case is done again with other files; the process dies at each point between."""
    run = begin(final)
    write(run, "a", name="a.old")
    run.finish()

    class Killed(BaseException):
        pass

    def die(*arguments):
        raise Killed

    again = begin(final)
    with monkeypatch.context() as patch:
        if killed_before == "line":
            patch.setattr(type(again), "append", die)
        elif killed_before == "names":
            patch.setattr(Path, "replace", die)
        else:
            patch.setattr(type(again), "_remove", die)
        with pytest.raises(Killed):
            write(again, "a", name="a.new")
    again._stop()
    again._lock.release()
    third = begin(final)
    assert third.is_done("a", {}) == (killed_before == "removal")
    write(third, "a", name="a.new")
    third.finish()
    assert names(final) == ["a.new", "cases.jsonl", "run.json"]


SHARD_OF_2 = [Shard(index=n, count=2) for n in range(2)]


def test_an_abandoned_part_takes_nothing_from_the_others(final):
    first = begin(final, shard=SHARD_OF_2[0])
    second = begin(final, shard=SHARD_OF_2[1])
    write(second, "b")
    first.abandon()
    assert second.log.folder.is_dir()
    write(second, "c")
    assert second.finish() is False
    assert [record.id for record in CaseLog(partial_of(final))] == ["b", "c"]
    third = begin(final, shard=SHARD_OF_2[0])
    write(third, "a")
    assert third.finish() is True
    assert names(final) == ["a.txt", "b.txt", "c.txt", "cases.jsonl", "run.json"]


def test_the_whole_and_its_parts_are_not_done_at_once(final):
    part = begin(final, shard=SHARD_OF_2[0])
    with pytest.raises(OutputError, match="shards are at work on it"):
        begin(final)
    with pytest.raises(OutputError, match="parts it otherwise"):
        begin(final, shard=Shard(index=1, count=3))
    begin(final, shard=SHARD_OF_2[1]).finish()
    assert part.finish()


@pytest.mark.parametrize("in_place", [False, True])
def test_of_parts_that_end_at_once_one_ends_the_run(final, monkeypatch, in_place):
    """Both see that all parts are finished; the second ends the run while and before the first tries to."""
    if in_place:
        final.mkdir()
    first, second = (begin(final, shard=shard) for shard in SHARD_OF_2)
    write(first, "a")
    write(second, "b")
    ends, all_finished = [], first._all_finished

    def overtaken():
        if not ends:
            ends.append(None)
            ends.append(second.finish(lambda: ends.append(first._take_over())))
            return True
        return all_finished()

    monkeypatch.setattr(first, "_all_finished", overtaken)
    assert first.finish() is False
    assert ends == [None, False, True]
    assert not partial_of(final).exists()
    assert names(final) == ["a.txt", "b.txt", "cases.jsonl", "run.json"]


def test_two_cases_of_one_id_are_refused(final):
    run = begin(final)
    with pytest.raises(InputError, match="Two cases have the id 'a'"):
        run.missing([FileCase(id="a"), FileCase(id="b"), FileCase(id="a")])
    run.abandon()


def test_of_two_logs_the_later_line_wins(final, monkeypatch):
    """A case failed in a run of two parts and is done in one of three; then a part of the first is started again."""
    clock = iter(range(100, 200))
    monkeypatch.setattr("omlab.runs.time.time", lambda: float(next(clock)))

    def fail(folder):
        raise InputError("not yet.")

    for shard, do in (
        (SHARD_OF_2[0], lambda run: run.attempt("a", files={}, work=fail)),
        (Shard(index=1, count=3), lambda run: write(run, "a")),
        (SHARD_OF_2[0], lambda run: write(run, "z")),
    ):
        run = begin(final, shard=shard)
        do(run)
        run.finish()
    assert CaseLog(partial_of(final)).get("a").status == "done"
    begin(final, shard=SHARD_OF_2[1]).finish()
    assert {record.id: record.status for record in CaseLog(final)} == {"a": "done", "z": "done"}


def test_a_file_digest_is_its_sha256(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert file_digest(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_digests_do_not_depend_on_the_order_of_keys(tmp_path):
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    (tmp_path / "x").write_text("one")
    before = file_digest(tmp_path)
    (tmp_path / "x").write_text("two")
    assert file_digest(tmp_path) != before

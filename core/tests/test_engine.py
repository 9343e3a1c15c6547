"""The engine reads ahead, does batches and writes at once; what happens to one case happens to no other."""

import threading
import tracemalloc
import warnings
from dataclasses import dataclass

import pytest

from omlab import engine
from omlab.engine import Stages, do_cases
from omlab.errors import DeviceError, InputError, OmlabWarning, OutputError
from omlab.jobs.run_cases import FileCase
from omlab.records import CaseLog
from omlab.runs import open_run

PATIENCE = 30.0
"""Seconds that a test waits for what must happen: reached only where it does not."""


@pytest.fixture
def run(tmp_path):
    found = open_run(tmp_path / "run", kind="test", request={}, arguments={})
    found.begin()
    yield found
    found.abandon()


def cases(count):
    return [FileCase(id=f"{number:03}") for number in range(count)]


def keep(item, result, folder):
    (folder / f"{item.record.id}.txt").write_text(str(result))
    return {}


def stages(read=lambda case: case.id, apply=list, write=keep, **more):
    return Stages(read=read, apply=apply, write=write, **more)


def records(run):
    return {record.id: record for record in CaseLog(run.folder)}


def test_all_cases_are_done_in_their_order_and_logged(run):
    order = []
    do_cases(run, cases(20), stages(apply=lambda batch: order.extend(batch) or batch, batch=3), total=20)
    assert order == [case.id for case in cases(20)]
    assert list(records(run)) == order
    assert (run.folder / "007.txt").read_text() == "007"
    assert {record.status for record in records(run).values()} == {"done"}


def test_batches_are_as_large_as_asked_and_a_case_that_cannot_be_read_is_left_out(run):
    def read(case):
        if case.id == "001":
            raise InputError("001.nii is broken.")
        return case.id

    sizes = []
    do_cases(run, cases(7), stages(read=read, apply=lambda b: sizes.append(len(b)) or b, batch=3), total=7)
    assert sizes == [2, 3, 1]
    assert records(run)["001"].reason == "001.nii is broken."
    assert not (run.folder / "001.txt").exists()


def test_reading_network_and_writing_go_on_at_once(run):
    """While the third case is in the network, the second is being written and later ones are being read."""
    written, read_on = threading.Event(), threading.Event()
    in_network = threading.Event()

    def read(case):
        if case.id == "004":
            assert in_network.wait(PATIENCE)
            read_on.set()
        return case.id

    def apply(batch):
        if batch == ["002"]:
            in_network.set()
            assert read_on.wait(PATIENCE), "nothing was read while the network was busy"
            assert written.wait(PATIENCE), "nothing was written while the network was busy"
        return batch

    def write(item, result, folder):
        if result == "001":
            assert in_network.wait(PATIENCE)
            written.set()
        return keep(item, result, folder)

    do_cases(run, cases(6), stages(read, apply, write), total=6)
    assert {record.status for record in records(run).values()} == {"done"}


def test_several_cases_are_read_at_once(run):
    meeting = threading.Barrier(2, timeout=PATIENCE)

    def read(case):
        if case.id in ("000", "001"):
            meeting.wait()
        return case.id

    do_cases(run, cases(2), stages(read), total=2)
    assert {record.reason for record in records(run).values()} == {""}


@dataclass(frozen=True)
class Heavy:
    nbytes: int


@pytest.mark.parametrize(("limit", "ahead"), [(100, 2), (10_000, 4)])
def test_how_far_is_read_ahead_is_bounded_by_bytes(run, monkeypatch, limit, ahead):
    """Cases of 50 bytes: while the fourth is in the network, as many are read after it as the limit bears."""
    monkeypatch.setattr(engine, "AHEAD_BYTES", limit)
    enough, read_after = threading.Semaphore(0), []

    def read(case):
        if case.id > "003":
            read_after.append(case.id)
            enough.release()
        return Heavy(50)

    def apply(batch):
        if len(done) == 3:
            for _ in range(ahead):
                assert enough.acquire(timeout=PATIENCE), "less was read than may be"
            assert not (ahead == 2 and enough.acquire(timeout=0.2)), "more was read than may be"
        done.append(batch)
        return batch

    done = []
    do_cases(run, cases(30), stages(read, apply, write=lambda *_: {}), total=30)
    assert len(done) == 30


def test_what_waits_to_be_written_is_bounded_by_bytes(run, monkeypatch):
    """Results of 50 bytes and a writer that is stuck: the network stops when two of them wait."""
    monkeypatch.setattr(engine, "AHEAD_BYTES", 100)
    goes_on, applied = threading.Event(), []

    def apply(batch):
        applied.append(batch)
        if len(applied) == 3:
            threading.Timer(0.2, goes_on.set).start()
        return [Heavy(50)]

    def write(item, result, folder):
        assert goes_on.wait(PATIENCE)
        stuck.append(len(applied))
        return {}

    stuck = []
    do_cases(run, cases(10), stages(apply=apply, write=write), total=10)
    assert stuck[0] == 3


def test_the_first_cases_are_taken_to_need_more_than_their_files(run, tmp_path, monkeypatch):
    """Before anything was read their size must do: of files that would fill the memory one is read at a time."""
    monkeypatch.setattr(engine, "AHEAD_BYTES", 100)
    files = []
    for number in range(4):
        files.append(tmp_path / f"{number}.dat")
        files[-1].write_bytes(b"x" * 30)
    heavy = [FileCase(id=path.name, files={"x": [path]}) for path in files]
    lock, reading, most = threading.Lock(), [0], [0]

    def read(case):
        with lock:
            reading[0] += 1
            most[0] = max(most[0], reading[0])
        threading.Event().wait(0.05)
        with lock:
            reading[0] -= 1
        return Heavy(90)

    do_cases(run, heavy, stages(read, write=lambda *_: {}), total=4)
    assert most == [1]


def test_memory_is_flat(run):
    def peak_of(count):
        tracemalloc.start()
        ids = (FileCase(id=f"{count}-{number}") for number in range(count))
        do_cases(run, ids, stages(write=lambda *_: {}), total=count)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak_of(50)
    assert peak_of(1500) < 2 * peak_of(150) + 100_000


def test_warnings_land_on_their_own_case(run):
    """Readers in the middle of a case while another one warns: they meet once a case, so that none is left over."""
    meeting = threading.Barrier(2, timeout=PATIENCE)

    def read(case):
        warnings.warn(f"read {case.id}", OmlabWarning, stacklevel=1)
        meeting.wait()
        warnings.warn(f"read {case.id} on", OmlabWarning, stacklevel=1)
        return case.id

    def apply(batch):
        warnings.warn(f"network {batch[0]}", OmlabWarning, stacklevel=1)
        return batch

    def write(item, result, folder):
        warnings.warn(f"write {result}", OmlabWarning, stacklevel=1)
        warnings.warn(f"write {result}", OmlabWarning, stacklevel=1)  # said twice, kept once
        return {}

    do_cases(run, cases(8), stages(read, apply, write), total=8)
    for id, record in records(run).items():
        assert record.warnings == [f"read {id}", f"read {id} on", f"network {id}", f"write {id}"]


def test_a_warning_in_a_batch_is_one_of_all_its_cases(run):
    def apply(batch):
        if "000" in batch:
            warnings.warn("dim", OmlabWarning, stacklevel=1)
        return batch

    do_cases(run, cases(4), stages(apply=apply, batch=2), total=4)
    assert [record.warnings for record in records(run).values()] == [["dim"], ["dim"], [], []]


def test_others_warnings_pass_on(run):
    def read(case):
        warnings.warn("not ours", FutureWarning, stacklevel=1)  # which this test run makes an error
        return case.id

    do_cases(run, cases(1), stages(read), total=1)
    assert records(run)["000"].reason.startswith("unexpected FutureWarning: not ours (test_engine.py, line ")


@pytest.mark.parametrize("stage", ["read", "apply", "write"])
def test_a_case_that_fails_leaves_nothing_and_harms_no_other(run, stage):
    def fail(id):
        if id == "001":
            raise ZeroDivisionError("a bug")

    def read(case):
        if stage == "read":
            fail(case.id)
        return case.id

    def apply(batch):
        return [InputError("refused.") if stage == "apply" and id == "001" else id for id in batch]

    def write(item, result, folder):
        (folder / f"{result}.txt").write_text("half")
        if stage == "write":
            fail(result)
        return keep(item, result, folder)

    do_cases(run, cases(3), stages(read, apply, write, batch=2), total=3)
    found = records(run)
    assert [found[id].status for id in ("000", "001", "002")] == ["done", "failed", "done"]
    if stage == "apply":
        assert found["001"].reason == "refused."
        assert found["001"].values == {}
    else:
        assert found["001"].reason.startswith("unexpected ZeroDivisionError: a bug (test_engine.py, line ")
        assert "fail(" in found["001"].values["traceback"]
    assert sorted(path.name for path in run.folder.glob("*.txt")) == ["000.txt", "002.txt"]
    assert not list(run.folder.glob(".attempt*/*"))


def test_what_was_computed_before_the_device_was_lost_is_kept(run):
    slow = threading.Event()

    def apply(batch):
        if batch == ["003"]:
            slow.set()
            raise DeviceError("The device is lost.")
        return batch

    def write(item, result, folder):
        assert slow.wait(PATIENCE)
        return keep(item, result, folder)

    with pytest.raises(DeviceError) as lost:
        do_cases(run, cases(8), stages(apply=apply, write=write), total=8)
    assert lost.value.exit_status == 1
    assert list(records(run)) == ["000", "001", "002"]


def test_a_full_disk_ends_the_run_at_once(run):
    def write(item, result, folder):
        if result == "002":
            raise OutputError("The disk is full.")
        return {}

    with pytest.raises(OutputError) as full:
        do_cases(run, cases(50), stages(write=write), total=50)
    assert full.value.exit_status == 1
    assert len(records(run)) < 20
    assert "002" not in records(run)


def test_an_interruption_ends_the_run_with_what_is_logged(run):
    def apply(batch):
        if batch == ["005"]:
            raise KeyboardInterrupt
        return batch

    with pytest.raises(KeyboardInterrupt):
        do_cases(run, cases(50), stages(apply=apply), total=50)
    assert set(records(run)) <= {f"{number:03}" for number in range(5)}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("omlab-")]


def test_more_or_fewer_results_than_cases_are_a_bug(run):
    with pytest.raises(ValueError, match="shorter"):
        do_cases(run, cases(2), stages(apply=lambda batch: batch[:1], batch=2), total=2)


def test_the_seconds_of_a_case_are_those_that_went_into_it(run):
    go = threading.Event()

    def apply(batch):
        if batch == ["000"]:
            go.wait(0.6)
        return batch

    do_cases(run, cases(4), stages(apply=apply), total=4)
    found = records(run)
    assert found["000"].seconds >= 0.6
    assert found["003"].seconds < 0.4  # it waited, but was not worked on

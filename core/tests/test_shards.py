"""Parts of a run on machines that know nothing of each other: done is the union of what they logged."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import omlab
from omlab.errors import OutputError, UsageError
from omlab.run_folder import partial_of
from omlab.shards import Shard, this_shard

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def scans(signal):
    for number in range(9):
        folder = signal(f"{number}.sig", [number]).parent
    return folder


@pytest.fixture
def part(monkeypatch):
    """Do one part of a run in this process."""

    def do(text, verb, model, inputs, **more):
        monkeypatch.setenv("OMLAB_SHARD", text)
        outcome = omlab.apply_verb(verb, model, inputs, **more)
        monkeypatch.delenv("OMLAB_SHARD")
        return outcome

    return do


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def test_each_id_is_in_one_part_whoever_asks():
    ids = [f"case-{number}" for number in range(300)]
    for count in (1, 2, 3, 7):
        owners = [[shard for shard in range(count) if Shard(index=shard, count=count).holds(id)] for id in ids]
        assert all(len(owner) == 1 for owner in owners)
        assert {owner[0] for owner in owners} == set(range(count))


@pytest.mark.parametrize("text", ["1", "2/2", "a/b", "-1/2", "1/", "/2", "0/0"])
def test_a_part_that_does_not_exist_is_one_sentence(monkeypatch, text):
    monkeypatch.setenv("OMLAB_SHARD", text)
    with pytest.raises(UsageError, match="must be I/N with I from 0 to N-1, such as 0/4"):
        this_shard()


def test_two_parts_make_what_one_process_makes(scans, part):
    whole = omlab.predict("adder", scans, output="whole")
    first = part("0/2", "predict", "adder", scans, output="out")
    assert (first.is_whole, Path("out").exists()) == (False, False)
    assert 0 < sum(first.counts) < 9
    second = part("1/2", "predict", "adder", scans, output="out")
    assert second.is_whole
    assert names("out") == names("whole")
    assert set(second.cases) == set(whole.cases)
    assert part("0/2", "predict", "adder", scans, output="out").was_complete


def test_another_number_of_parts_at_the_second_start_goes_on_with_the_union(scans, part):
    part("0/2", "predict", "adder", scans, output="out")
    made = {path.name: path.stat().st_mtime_ns for path in Path("out.partial").glob("*.sig.txt")}
    ends = [part(f"{n}/3", "predict", "adder", scans, output="out").is_whole for n in range(3)]
    assert ends == [False, False, True]
    assert len(list(Path("out").glob("*.sig.txt"))) == 9
    assert all((Path("out") / name).stat().st_mtime_ns == time for name, time in made.items())
    assert names("out") == sorted([*(f"{n}.notes" for n in range(9)), *(f"{n}.sig.txt" for n in range(9)),
                                   "cases.jsonl", "run.json"])  # fmt: skip


def test_one_process_can_end_what_parts_began(scans, part):
    part("0/2", "predict", "adder", scans, output="out")
    outcome = omlab.predict("adder", scans, output="out")
    assert outcome.counts == (9, 0)
    assert names("out")[-2:] == ["cases.jsonl", "run.json"]


def test_results_of_all_parts_are_collected_into_one_file(scans, part):
    omlab.embed("embedder", scans, output="whole")
    for n in range(3):
        part(f"{n}/3", "embed", "embedder", scans, output="out")
    assert Path("out/embed.csv").read_text() == Path("whole/embed.csv").read_text()
    Path("out/embed.csv").unlink()
    outcome = omlab.embed("embedder", scans, output="out")  # what is of all cases is made again, no case is
    assert not outcome.was_complete
    assert Path("out/embed.csv").read_text() == Path("whole/embed.csv").read_text()


def test_a_run_whose_parts_will_not_all_end_is_merged(scans, part):
    part("0/2", "embed", "embedder", scans, output="out")
    assert Path("out.partial").is_dir()
    outcome = omlab.merge("out")
    assert outcome.place == Path("out").absolute()
    ids = [line.partition(",")[0] for line in Path("out/embed.csv").read_text().splitlines()]
    assert ids == [record.id for record in outcome]
    assert 0 < len(ids) < 9
    assert omlab.embed("embedder", scans, output="out").counts == (9, 0)


def test_a_run_at_which_a_part_works_is_not_merged(scans, part):
    from omlab.run_folder import read_log
    from omlab.runs import open_run

    part("0/2", "embed", "embedder", scans, output="out")
    log = read_log(partial_of(Path("out")))
    worker = open_run(Path("out"), kind="embed", request=log["request"], arguments={}, shard=Shard(index=1, count=2))
    with pytest.raises(OutputError, match="shards are at work on it"):
        omlab.merge("out")
    worker.close()
    omlab.merge("out")


def test_an_evaluation_in_parts(part, monkeypatch):
    whole = omlab.evaluate("adder", "ramps", output="whole")
    for n in range(5):
        monkeypatch.setenv("OMLAB_SHARD", f"{n}/5")
        outcome = omlab.evaluate("adder", "ramps", output="out")
    assert outcome.is_whole
    assert outcome.report.metrics == whole.report.metrics


def test_two_processes_at_once(scans, toy):
    """Started together, as a scheduler does: one run comes of them."""
    environment = {**os.environ, "PYTHONPATH": str(toy), "OMLAB_PLUGINS": "toy"}
    environment.pop("OMLAB_PLUGINS_OFF", None)
    command = [sys.executable, "-m", "omlab", "predict", "adder", str(scans), "-o", "out", "--device", "cpu"]
    both = [
        subprocess.Popen(command, env={**environment, "OMLAB_SHARD": f"{n}/2"}, stderr=subprocess.PIPE, text=True)
        for n in range(2)
    ]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert len(list(Path("out").glob("*.sig.txt"))) == 9
    assert names("out")[-2:] == ["cases.jsonl", "run.json"]
    assert not partial_of(Path("out")).exists()


def test_a_lock_that_is_tried_by_another_is_not_held(tmp_path):
    """Parts that start together try each other's locks for a moment: that must stop neither."""
    from filelock import FileLock

    from omlab.run_folder import LOCK, lock_for

    tried = FileLock(tmp_path / LOCK, thread_local=False)
    tried.acquire()
    letting_go = threading.Timer(0.2, tried.release)
    letting_go.start()
    lock_for(tmp_path, Shard(index=1, count=2)).release()
    letting_go.join()

"""Rows of benchmarks are appended with the machine, and columns stay what they were."""

import csv

import pytest

from omlab_testkit.rows import append_rows, machine, processor


def test_rows_have_the_machine_and_a_file_keeps_its_columns(tmp_path, capsys):
    path = tmp_path / "results.csv"
    append_rows(path, [{"way": "ours", "cpu_s": 1.5}], threads=2)
    append_rows(path, [{"way": "theirs", "cpu_s": 3}], threads=1)
    with path.open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["way"], first["threads"], second["threads"]) == ("ours", "2", "1")
    assert first["machine"] == processor()
    assert set(machine(threads=1)) < set(first)
    assert "way=theirs cpu_s=3" in capsys.readouterr().out
    with pytest.raises(ValueError, match="peak"):
        append_rows(path, [{"way": "ours", "peak": 1}], threads=1)


def test_a_file_without_some_of_the_machine_stays_so(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("way,machine\n")
    append_rows(path, [{"way": "ours"}], threads=1)
    assert path.read_text().splitlines() == ["way,machine", f"ours,{processor()}"]

"""What a command shows of a report: every figure with its name, however narrow the screen is."""

from pathlib import Path

import pytest

from omlab.cli.results import show_report, show_words
from omlab.jobs.outcome import Outcome
from omlab.records import Record
from omlab.roles import Metric, Report

METRICS = [
    Metric(name=name, label=label, value=0.5, low=0.25, high=0.75)
    for name in ("accuracy", "balanced_accuracy", "auroc", "average_precision", "brier")
    for label in (None, "a class of a long name", "other")
]


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_no_figure_and_no_name_is_cut(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    show_report(Report(metrics=METRICS))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    page = " ".join(lines).split()
    for name in {metric.name for metric in METRICS}:
        assert page.count(name) == 1
    assert " ".join(page).count("0.500 [0.250, 0.750]") == len(METRICS)
    assert len(lines) == 4 * {60: 5, 80: 3, 200: 1}[columns]  # a heading and three rows each


def test_a_table_has_the_rows_that_have_a_figure_in_it(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    metrics = [
        Metric(name="accuracy_of_the_whole", value=0.5),
        Metric(name="sensitivity_by_class", label="x", value=None),
    ]
    show_report(Report(metrics=metrics))
    first, second = capsys.readouterr().out.split("sensitivity_by_class")
    assert "mean" in first
    assert "mean" not in second
    assert "undefined" in second


def test_a_report_without_metrics_shows_nothing(capsys):
    show_report(Report(metrics=[]))
    assert capsys.readouterr().out == ""


def test_small_results_are_said_case_by_case(capsys):
    log = [
        Record(id="[a]", status="done", values={"in_words": "cyst 0.600"}),
        Record(id="b", status="done"),
        Record(id="c", status="failed", values={"in_words": "cyst 0.100"}),
        *(Record(id=f"d{n:02}", status="done", values={"in_words": "x"}) for n in range(20)),
    ]
    show_words(Outcome(place=Path("out"), log=log))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[a]: cyst 0.600"
    assert lines[1:3] == ["d00: x", "d01: x"]
    assert (len(lines), lines[-1]) == (21, "...")

"""What commands say of their progress where nobody watches a terminal."""

import warnings

import pytest

from omlab.cli import console
from omlab.errors import OmlabNote, OmlabWarning


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.6, "1 s"),
        (61, "1 min 1 s"),
        (120, "2 min"),
        (3599, "59 min 59 s"),
        (90061, "1 d 1 h"),
        (86405, "1 d"),
    ],
)
def test_seconds_are_said_as_people_say_them(seconds, said):
    assert console.duration(seconds) == said


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def test_lines_tell_how_long_work_will_take_and_come_ever_less_often(clock, capfd):
    with console.Lines().bar("training", 1000) as advance:
        for _ in range(100):
            clock[0] += 5
            advance(1, loss=0.5)
    said = capfd.readouterr().err.splitlines()
    assert said[0] == "training 2/1000, about 1 h 23 min at 5 s a step, 1 h 23 min left  loss 0.5"
    assert said[1] == "training 6/1000, 1 h 22 min left  loss 0.5"
    assert [line.split("/")[0] for line in said] == [f"training {n}" for n in (2, 6, 14, 30, 62, 100)]
    assert said[-1] == "training 100/1000, 8 min 20 s"


def test_what_takes_long_says_so_after_the_first_steps(clock, capfd):
    with console.Lines().bar("cases", 900) as advance:
        for _ in range(4):
            clock[0] += 1
            advance(1)
        assert capfd.readouterr().err == "cases 3/900, about 15 min at 1 s a case, 14 min 57 s left\n"
    capfd.readouterr()
    with console.Lines().bar("cases", 20) as advance:  # half a minute: nobody needs an estimate of that
        for _ in range(6):
            clock[0] += 1.5
            advance(1)
    assert capfd.readouterr().err == ""


def test_what_an_earlier_start_did_tells_no_rate(clock, capfd):
    with console.Lines().bar("training", 200) as advance:
        advance(100)
        for _ in range(3):
            clock[0] += 2
            advance(1)
    assert capfd.readouterr().err.startswith("training 103/200, about 3 min 20 s at 2 s a step, 3 min 14 s left\n")


def test_bytes_have_no_time_each(clock, capfd):
    with console.Lines().bar("fetching net.pt", 8 * 10**6) as advance:
        for _ in range(3):
            clock[0] += 8
            advance(10**6)
    assert capfd.readouterr().err.splitlines()[0] == "fetching net.pt 2.0 M/8.0 M, about 56 s, 48 s left"


def test_work_of_every_case_floods_no_log(clock, capfd):
    lines = console.Lines()
    with lines.bar("cases", 200) as case_done:
        for _ in range(200):
            with lines.bar("windows", 30) as advance:
                for _ in range(30):
                    clock[0] += 1
                    advance(1)
            case_done(1)
    said = capfd.readouterr().err.splitlines()
    windows = [line for line in said if line.startswith("windows")]
    assert windows[0] == "windows 10/30, about 30 s at 1 s a window, 20 s left"
    assert len(windows) < 12, "6,000 windows in 100 minutes"
    cases = [line for line in said if line.startswith("cases")]
    assert cases[0] == "cases 1/200, about 1 h 40 min at 30 s a case, 1 h 39 min left"
    assert 10 < len(cases) < 30


def test_work_of_a_moment_says_nothing_and_work_of_unknown_size_no_end(clock, capfd):
    with console.Lines().bar("cases", 3) as advance:
        advance(3)
    assert capfd.readouterr().err == ""
    with console.Lines().bar("tiles", None) as advance:
        clock[0] += 11
        advance(7)
    assert capfd.readouterr().err.splitlines()[0] == "tiles 7"


def test_what_is_worth_knowing_is_no_warning(capfd):
    with console.working():
        warnings.warn("Of the first chat all is learnt.", OmlabNote, stacklevel=1)
        warnings.warn("Two chats are cut.", OmlabWarning, stacklevel=1)
    assert capfd.readouterr().err.splitlines() == [
        "Note: Of the first chat all is learnt.",
        "Warning: Two chats are cut.",
    ]


def test_the_end_is_said_once(clock, capfd):
    with console.Lines().bar("cases", 1) as advance:
        clock[0] += 24
        advance(1)
    assert capfd.readouterr().err == "cases 1/1, 24 s\n"

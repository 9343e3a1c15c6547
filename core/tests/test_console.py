"""What commands say of their progress where nobody watches a terminal."""

import pytest

from omlab.cli import console


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
    with console._lines("epochs", 1000) as advance:
        for _ in range(100):
            clock[0] += 5
            advance(1, loss=0.5)
    said = capfd.readouterr().err.splitlines()
    assert said[0] == "epochs 2/1000, 1 h 23 min left  loss 0.5"
    assert [line.split("/")[0] for line in said] == [
        "epochs 2",
        "epochs 6",
        "epochs 14",
        "epochs 30",
        "epochs 62",
        "epochs 100",
    ]
    assert said[-1] == "epochs 100/1000, 8 min 20 s"


def test_work_of_a_moment_says_nothing_and_work_of_unknown_size_no_end(clock, capfd):
    with console._lines("cases", 3) as advance:
        advance(3)
    assert capfd.readouterr().err == ""
    with console._lines("tiles", None) as advance:
        clock[0] += 11
        advance(7)
    assert capfd.readouterr().err.splitlines()[0] == "tiles 7"

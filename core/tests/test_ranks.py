"""Several processes of one job: rank 0 gives the word, the others wait for it."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from torch.distributed import TCPStore

from omlab.errors import OmlabError, UsageError
from omlab.jobs.ranks import leading, wait_for_go
from omlab.runs import open_run
from omlab.shards import processes


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What torchrun gives its processes."""
    held = {"store": TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)}
    words = {"LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    words |= {"MASTER_PORT": str(held["store"].port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    for name, value in words.items():
        monkeypatch.setenv(name, value)
    return held


def waiting() -> tuple[threading.Thread, list[Any]]:
    """A process of a higher rank, and what it is told."""
    told: list[Any] = []

    def wait() -> None:
        try:
            told.append(wait_for_go())
        except OmlabError as error:
            told.append(error)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread, told


def test_the_others_wait_for_the_folder(store: dict[str, Any], tmp_path: Path) -> None:
    thread, told = waiting()
    with leading() as go:
        time.sleep(0.3)
        assert told == []
        go.work_in(tmp_path)
        thread.join(10)
        assert told == [tmp_path]
    assert wait_for_go() == tmp_path  # the first word counts


def test_the_others_end_where_rank_0_ends_without_a_word(store: dict[str, Any]) -> None:
    thread, told = waiting()
    with pytest.raises(ZeroDivisionError), leading():
        raise ZeroDivisionError
    thread.join(10)
    assert told == [None]


def test_the_word_of_an_attempt_before_does_not_count(
    store: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with leading() as go:
        go.work_in(tmp_path)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    with leading():
        pass
    assert wait_for_go() is None


def test_the_others_stop_when_what_started_them_is_gone(store: dict[str, Any]) -> None:
    thread, told = waiting()
    time.sleep(0.3)
    store.clear()
    thread.join(10)
    assert str(told[0]) == "Rank 0 ended before the work began."


def test_a_process_alone_tells_nobody(tmp_path: Path) -> None:
    assert processes() == 1
    with leading() as go:
        go.work_in(tmp_path)


def test_processes_that_something_else_started_are_refused(
    store: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE")
    with pytest.raises(UsageError, match="started with torchrun"), leading():
        pass


def test_other_processes_open_no_run(store: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(UsageError, match="OMLAB_SHARD"):
        open_run(tmp_path / "out", kind="predict", request={}, arguments={})
    assert list(tmp_path.iterdir()) == []

"""The store of a judge's replies: the first reply counts, nothing is lost, a damaged file is one sentence."""

import errno
import os
import threading
from dataclasses import dataclass

import pytest

from omlab.errors import InputError, OutputError
from omlab_text.judging.store import ReplyStore


@dataclass(frozen=True)
class Key:
    case: str
    item: int


KEY_OF_ONE = Key("exam", 1)


def opened(path):
    return ReplyStore(path, Key)


def test_the_store_keeps_the_first_reply(tmp_path):
    path = tmp_path / "replies.jsonl"
    one, two = opened(path), opened(path)
    assert one.add(KEY_OF_ONE, "8 7") == "8 7"
    assert two.add(KEY_OF_ONE, "1 9") == "8 7"
    assert two.get(KEY_OF_ONE) == "8 7"
    assert path.read_text().count("\n") == 1


def test_a_full_disk_ends_with_a_sentence_and_a_whole_file(tmp_path, monkeypatch):
    store = opened(tmp_path / "replies.jsonl")
    store.add(KEY_OF_ONE, "8 7")
    whole = store.path.read_bytes()
    write, room = os.pwrite, [20]

    def full(stream, data, offset):
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(stream, data[: room.pop()], offset)

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(OutputError, match="the disk is full"):
        store.add(Key("exam", 2), "1 1")
    assert opened(store.path).get(KEY_OF_ONE) == "8 7"
    assert store.path.read_bytes() == whole


def test_many_threads_lose_nothing(tmp_path):
    stores = [opened(tmp_path / "replies.jsonl") for _ in range(2)]
    keys = [Key("exam", n) for n in range(40)]

    def fill(store, part):
        for key in part:
            store.add(key, f"{key.item} 0")

    threads = [threading.Thread(target=fill, args=(stores[n % 2], keys[n % 3 :])) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    again = opened(tmp_path / "replies.jsonl")
    assert [again.get(key) for key in keys] == [f"{n} 0" for n in range(40)]
    assert (tmp_path / "replies.jsonl").read_text().count("\n") == 40


def test_a_damaged_store_is_one_sentence(tmp_path):
    path = tmp_path / "replies.jsonl"
    path.write_text('{"case": "exam"}\n')
    with pytest.raises(InputError, match="line 1: the field 'item' is missing"):
        opened(path)
    path.write_text("prose\n")
    with pytest.raises(InputError, match="line 1 is not JSON"):
        opened(path)

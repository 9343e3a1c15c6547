"""Frames that are decoded while others are worked on: the network does not wait for the file."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
_END = object()


def ahead(items: Iterable[Item], *, held: int = 16) -> Iterator[Item]:
    """The same items, made in a thread that is at most `held` of them ahead.

    What making them raises is raised where the item is asked for. Closing the iterator ends the thread.
    """
    made: queue.Queue[object] = queue.Queue(maxsize=held)
    stopped = threading.Event()

    def put(item: object) -> bool:
        while not stopped.is_set():
            try:
                made.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def make() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
            put(_END)
        except BaseException as error:  # it is raised where the item is asked for
            put((None, error))

    thread = threading.Thread(target=make, name="omlab-frames", daemon=True)
    thread.start()
    try:
        while (got := made.get()) is not _END:
            item, error = got  # type: ignore[misc]
            if error is not None:
                raise error
            yield item
    finally:
        stopped.set()
        thread.join()

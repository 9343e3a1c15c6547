"""Frames that are decoded while others are worked on: the network does not wait for the file."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
_PATIENCE = 0.1
"""Seconds after which a thread looks whether more is wanted."""


def ahead(items: Iterable[Item], *, held: int = 16) -> Iterator[Item]:
    """The same items, made in a thread that is at most `held` of them ahead.

    What making them raises is raised where the item is asked for. Closing the iterator ends the thread.
    """
    made: queue.Queue[tuple[list[Item], BaseException | None]] = queue.Queue(maxsize=held)
    stopped = threading.Event()

    def put(items: list[Item], error: BaseException | None = None) -> None:
        while not stopped.is_set():
            try:
                made.put((items, error), timeout=_PATIENCE)
                break
            except queue.Full:
                continue

    def make() -> None:
        try:
            for item in items:
                put([item])
                if stopped.is_set():
                    return
            put([])
        except BaseException as error:  # it is raised where the item is asked for
            put([], error)

    thread = threading.Thread(target=make, name="omlab-frames", daemon=True)
    thread.start()
    try:
        while True:
            some, error = made.get()
            if error is not None:
                raise error
            if not some:
                return
            yield from some
    finally:
        stopped.set()
        thread.join()

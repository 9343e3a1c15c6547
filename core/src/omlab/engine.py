"""The engine: cases are read ahead in threads, done in batches, written in another thread, and logged, a line a case.

Predicting, embedding, evaluating, caching features, one shard of many: all are this. It knows nothing of models.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from omlab import progress
from omlab.payloads import nbytes
from omlab.records import Record
from omlab.roles import Case
from omlab.runs import Run, blame, stamps
from omlab.stamps import parts_of
from omlab.warned import kept_by_case, noted

AHEAD_BYTES = 2 << 30
"""What may wait to be done, unless one batch is more."""

Roles = Mapping[str, tuple[str, str]]
"""Role and format of the files that a case left, by name."""


@dataclass(kw_only=True)
class Item:
    """A case on its way: what was read of it, and the record that it will leave."""

    case: Case
    record: Record
    value: Any = None
    error: Exception | None = None
    began: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True, kw_only=True)
class Stages:
    """What is done with each case.

    Attributes:
        read: Case -> what `apply` takes; several at once, in threads.
        apply: A batch of what was read -> a result or an `OmlabError` for each; in this thread.
        write: (item, result, folder) -> role and format of the files written there; in one thread.
        batch: How many go through `apply` at once.
        sampled: Inputs that are told by their size and sampled blocks.
    """

    read: Callable[[Case], Any]
    apply: Callable[[list[Any]], Sequence[Any]]
    write: Callable[[Item, Any, Path], Roles]
    batch: int = 1
    sampled: Sequence[str] = ()


def do_cases(run: Run, cases: Iterable[Case], stages: Stages, *, total: int, what: str = "cases") -> None:
    """Do cases that are not done yet. A case that fails is logged and leaves nothing; an `OutputError` ends the run."""
    with kept_by_case(), progress.bar(what, total=total) as advance, _Writer(run, stages, advance) as writer:
        for batch in _batches(_read_ahead(cases, stages), size=stages.batch):
            ready = [item for item in batch if item.error is None]
            for item in batch:
                if item.error is not None:
                    writer.put(item, item.error)
            if ready:
                for item, result in zip(ready, _applied(ready, stages), strict=True):
                    writer.put(item, result)


def _applied(items: list[Item], stages: Stages) -> Sequence[Any]:
    """Results of a batch. A warning given meanwhile is one of all its cases: which one it is of cannot be told."""
    found: list[str] = []
    with noted(found):
        results = stages.apply([item.value for item in items])
    for item in items:
        item.record.warnings += [sentence for sentence in found if sentence not in item.record.warnings]
    return results


def _read_ahead(cases: Iterable[Case], stages: Stages) -> Iterator[Item]:
    """The cases in their order, read by a few threads; how far ahead is bounded by count and bytes."""
    readers = min(4, (os.cpu_count() or 1) + 1)
    most = max(2 * readers, stages.batch + readers)
    waiting: deque[Future[Item]] = deque()
    source = iter(cases)
    with ThreadPoolExecutor(max_workers=readers, thread_name_prefix="omlab-read") as pool:
        try:
            while True:
                while len(waiting) < most and (len(waiting) < stages.batch or _bytes(waiting) < AHEAD_BYTES):
                    case = next(source, None)
                    if case is None:
                        break
                    waiting.append(pool.submit(_read, case, stages))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _bytes(waiting: Iterable[Future[Item]]) -> int:
    return sum(_size(future.result().value) for future in waiting if future.done() and not future.cancelled())


def _size(value: Any) -> int:
    inputs = getattr(value, "inputs", None)
    return nbytes(inputs if isinstance(inputs, Mapping) else value)


def _read(case: Case, stages: Stages) -> Item:
    item = Item(case=case, record=Record(id=case.id))
    with noted(item.record.warnings):
        try:
            item.value = stages.read(case)
            item.record.inputs = stamps(parts_of(case), sampled=stages.sampled)
        except Exception as error:  # a case that cannot be read fails alone; its reason is logged
            item.error = error
    return item


def _batches(items: Iterator[Item], *, size: int) -> Iterator[list[Item]]:
    while batch := list(islice(items, size)):
        yield batch


class _Writer:
    """One thread that writes results and logs them, so that the device need not wait for the disk."""

    def __init__(self, run: Run, stages: Stages, advance: progress.Advance) -> None:
        self.run, self.stages, self.advance = run, stages, advance
        self.pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="omlab-write")
        self.waiting: deque[Future[None]] = deque()

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self._take(0)
        finally:
            self.pool.shutdown(wait=True, cancel_futures=kind is not None)

    def put(self, item: Item, result: Any) -> None:
        self.waiting.append(self.pool.submit(self._write, item, result))
        self._take(2 * self.stages.batch + 2)

    def _take(self, left: int) -> None:
        """Wait until at most `left` results wait; raises what writing raised."""
        while self.waiting and (len(self.waiting) > left or self.waiting[0].done()):
            self.waiting.popleft().result()
            self.advance(1)

    def _write(self, item: Item, result: Any) -> None:
        record = item.record
        with self.run.attempt_folder(record.id) as folder, noted(record.warnings):
            try:
                if isinstance(result, Exception):
                    raise result
                roles = self.stages.write(item, result, folder)
                record.seconds = round(time.perf_counter() - item.began, 4)
                self.run.adopt(record, folder, roles=roles)
            except Exception as error:  # fails its case and no other; blame raises again what ends the run
                blame(record, error)
                record.seconds = round(time.perf_counter() - item.began, 4)
                self.run.fail(record)

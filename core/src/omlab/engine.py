"""The engine: cases are read ahead in threads, done in batches, written in another thread, and logged, a line a case.

Predicting, embedding, evaluating, caching features, one shard of many: all are this. It knows nothing of models.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Event
from typing import Any

from omlab import progress
from omlab.errors import OmlabError, OutputError
from omlab.payloads import Inputs, nbytes
from omlab.records import Record, Role
from omlab.roles import Case
from omlab.runs import Run, blame, stamps
from omlab.stamps import parts_of, referred_by
from omlab.warned import kept_by_case, noted

AHEAD_BYTES = 2 << 30
"""What may wait to be done, unless one batch is more; and likewise what may wait to be written."""
_GUESSED = 4
"""How many times its files a case is taken to need, before the first one was read."""

Roles = Mapping[str, Role]
"""What the files that a case left are, by name."""


@dataclass(kw_only=True)
class Item:
    """A case on its way: what was read of it, and the record that it will leave, with the time that went into it."""

    case: Case
    record: Record
    value: Any = None
    error: Exception | None = None

    @contextmanager
    def timed(self, *, share: int = 1) -> Iterator[None]:
        """Count the time of what runs inside as this case's, or its share of it."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.record.seconds = round(self.record.seconds + (time.perf_counter() - began) / share, 4)


@dataclass(frozen=True, kw_only=True)
class Stages:
    """What is done with each case.

    Attributes:
        read: Case -> what `apply` takes; several at once, in threads.
        apply: A batch of what was read -> a result or an `OmlabError` for each; in this thread.
        write: (item, result, folder) -> what the files written there are; in one thread.
        batch: How many go through `apply` at once.
        sampled: Inputs that are told by their size and sampled blocks.
        inputs_of: What was read -> the inputs in it, which may refer to further files.
    """

    read: Callable[[Case], Any]
    apply: Callable[[list[Any]], Sequence[Any]]
    write: Callable[[Item, Any, Path], Roles]
    batch: int = 1
    sampled: Sequence[str] = ()
    inputs_of: Callable[[Any], Inputs] = lambda _: {}


def do_cases(run: Run, cases: Iterable[Case], stages: Stages, *, total: int, what: str = "cases") -> None:
    """Do cases that are not done yet. A case that fails is logged and leaves nothing.

    Raises:
        OutputError: Nothing more can be written.
        DeviceError: The device is lost.
        PluginError: A model gave more or fewer results than cases.
    """
    with (
        kept_by_case(),
        progress.bar(what, total=total) as advance,
        _Writer(run, stages, advance) as writer,
        closing(_read_ahead(cases, stages)) as items,
    ):
        while batch := list(islice(items, stages.batch)):
            ready = [item for item in batch if item.error is None]
            try:
                for item in batch:
                    if item.error is not None:
                        writer.put(item, item.error)
                for item, result in zip(ready, _applied(ready, stages), strict=True):
                    writer.put(item, result)
            except OmlabError as error:
                error.exit_status = 1  # some cases may be done
                raise


def _applied(items: list[Item], stages: Stages) -> Sequence[Any]:
    """Results of a batch. A warning given meanwhile is one of all its cases: which one it is of cannot be told."""
    found: list[str] = []
    with ExitStack() as stack:
        for item in items:
            stack.enter_context(item.timed(share=len(items)))
        stack.enter_context(noted(found))
        results = stages.apply([item.value for item in items]) if items else []
    for item in items:
        item.record.warnings += [sentence for sentence in found if sentence not in item.record.warnings]
    return results


def _read_ahead(cases: Iterable[Case], stages: Stages) -> Generator[Item]:
    """The cases in their order, read by a few threads while those before them are worked on."""
    readers = min(4, (os.cpu_count() or 1) + 1)
    with ThreadPoolExecutor(max_workers=readers, thread_name_prefix="omlab-read") as pool:
        ahead = _Ahead(iter(cases), lambda case: pool.submit(_read, case, stages), batch=stages.batch, readers=readers)
        try:
            ahead.fill()
            while ahead.waiting:
                item = ahead.pop()
                ahead.fill()
                yield item
        finally:
            for _, future in ahead.waiting:
                future.cancel()


class _Ahead:
    """Cases that are read or being read: some more than a batch, as long as they do not hold too much."""

    def __init__(
        self, cases: Iterator[Case], start: Callable[[Case], Future[Item]], *, batch: int, readers: int
    ) -> None:
        self.waiting: deque[tuple[Case, Future[Item]]] = deque()
        self._cases, self._start = cases, start
        self._least, self._most = batch, max(2 * readers, batch + readers)
        self._next = next(cases, None)
        self._largest: int | None = None

    def fill(self) -> None:
        """Begin to read as many as may wait."""
        while self._next is not None and len(self.waiting) < self._most:
            held = sum(self._held(case, future) for case, future in self.waiting)
            if len(self.waiting) >= self._least and held + self._expected(self._next) > AHEAD_BYTES:
                return
            self.waiting.append((self._next, self._start(self._next)))
            self._next = next(self._cases, None)

    def pop(self) -> Item:
        """The first one, when it is read."""
        item = self.waiting.popleft()[1].result()
        self._largest = max(self._largest or 0, _size(item.value))
        return item

    def _held(self, case: Case, future: Future[Item]) -> int:
        return _size(future.result().value) if future.done() else self._expected(case)

    def _expected(self, case: Case) -> int:
        """What a case will hold that is not read yet: as much as the largest before it; of the first its files tell."""
        if self._largest is not None:
            return self._largest
        found = 0
        for path in (path for paths in case.files.values() for path in paths):
            with suppress(OSError):  # what cannot be looked at is told by whoever reads it
                found += path.stat().st_size
        return _GUESSED * found


def _size(value: Any) -> int:
    inputs = getattr(value, "inputs", None)
    return nbytes(inputs if isinstance(inputs, Mapping) else value)


def _read(case: Case, stages: Stages) -> Item:
    item = Item(case=case, record=Record(id=case.id))
    with noted(item.record.warnings), item.timed():
        try:
            item.value = stages.read(case)
            item.record.inputs = stamps(parts_of(case), sampled=stages.sampled)
            item.record.referred = referred_by(stages.inputs_of(item.value))
        except Exception as error:  # a case that cannot be read fails alone; its reason is logged
            item.error = error
    return item


class _Writer:
    """One thread that writes results and logs them, so that the device need not wait for the disk."""

    def __init__(self, run: Run, stages: Stages, advance: progress.Advance) -> None:
        self.run, self.stages, self.advance = run, stages, advance
        self.pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="omlab-write")
        self.stopped = Event()
        self.waiting: deque[tuple[int, Future[None]]] = deque()

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Write what was computed, unless the user or the disk ends it."""
        try:
            if kind is None:
                self._take(most=0)
        except BaseException as error:
            kind = type(error)
            raise
        finally:
            at_once = kind is not None and not (issubclass(kind, OmlabError) and not issubclass(kind, OutputError))
            if at_once:  # what is computed while it is written ends, too
                self.stopped.set()
            self.pool.shutdown(wait=True, cancel_futures=at_once)

    def put(self, item: Item, result: Any) -> None:
        """Have a result written; waits where too many, or too large ones, wait already."""
        held = _size(item.value) + nbytes(result)
        # in a copy of the context, where bars are shown: some results are computed while they are written
        self.waiting.append((held, self.pool.submit(copy_context().run, self._write, item, result)))
        self._take(most=2 * self.stages.batch + 2)

    def _take(self, *, most: int) -> None:
        """Wait until at most so many results wait; raises what writing raised."""
        while self.waiting:
            held = sum(size for size, _ in self.waiting)
            if len(self.waiting) <= most and held <= AHEAD_BYTES and not self.waiting[0][1].done():
                return
            self.waiting.popleft()[1].result()
            self.advance(1)

    def _write(self, item: Item, result: Any) -> None:
        record = item.record
        with self.run.attempt_folder() as folder, noted(record.warnings), progress.stoppable(self.stopped):
            try:
                if isinstance(result, Exception):
                    raise result
                with item.timed():
                    roles = self.stages.write(item, result, folder)
                self.run.adopt(record, folder, roles=roles)
            except Exception as error:  # fails its case and no other; blame raises again what ends the run
                blame(record, error)
                self.run.fail(record)

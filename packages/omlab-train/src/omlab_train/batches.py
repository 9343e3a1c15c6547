"""Batches made ahead of the loop: by a thread of this process, or by worker processes. The same batches either way.

Batches that draw from the generators of the process (`draws_globally`) are made between the steps instead of in a
thread beside them: dropout there draws from the same generators.
"""

from __future__ import annotations

import os
import signal
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from omlab.errors import OmlabError, TrainingError, first_line

AHEAD = 2
"""How many batches a thread or a worker process has ready while a step is computed."""
MOST_WORKERS = 8
"""Beyond that many the process that trains is what is waited for."""

Make = Callable[[int], Any]


def workers_for(device: str) -> int:
    """Worker processes for one process that trains on `device`: on a GPU its share of the cores but one, at most 8.

    None on a CPU, where they would take the cores that the steps are computed on.
    """
    if torch.device(device).type == "cpu":
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    beside = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    return max(0, min(MOST_WORKERS, cores // beside - 1))


@contextmanager
def batches_ahead(make: Make, numbers: range, *, workers: int, pinned: bool) -> Iterator[Iterator[Any]]:
    """The batches of `numbers` in order, made ahead.

    Args:
        make: Gives a batch by its number; for worker processes it must be picklable. Where its `draws_globally` is
            true, it seeds the random numbers of the process while it makes a batch.
        numbers: Which ones.
        workers: Processes that make them; 0: a thread, or nobody else where they draw globally.
        pinned: Whether their tensors lie in memory from which a GPU copies while it computes.

    Raises:
        OmlabError: What `make` raised. A `TrainingError` where `make` cannot be sent to a worker, raises anything else
            there (its traceback is a note), or a worker ends before its time.
    """
    if not numbers:
        yield iter(())
        return
    if workers:
        made = _by_processes(make, numbers, workers=workers, pinned=pinned)
    elif getattr(make, "draws_globally", False):
        made = _when_asked(make, numbers, pinned=pinned)
    else:
        made = _by_thread(make, numbers, pinned=pinned)
    try:
        yield made
    except RuntimeError as error:
        # torch says so from a signal handler, hence from wherever the loop is
        if workers and "DataLoader worker" in str(error):
            raise _ended(error) from error
        raise
    finally:
        made.close()


def mapped(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """`batch`, a (nested) dict, list or tuple of tensors and other values, with each tensor changed."""
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        return {key: mapped(value, change) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return [mapped(value, change) for value in batch]
    return batch


def _when_asked(make: Make, numbers: range, *, pinned: bool) -> Generator[Any, None, None]:
    for number in numbers:
        yield _made(make, number, pinned=pinned)


def _made(make: Make, number: int, *, pinned: bool) -> Any:
    batch = make(number)
    return mapped(batch, Tensor.pin_memory) if pinned else batch


def _by_thread(make: Make, numbers: range, *, pinned: bool) -> Generator[Any, None, None]:
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="omlab-batches")
    waiting: deque[Future[Any]] = deque()
    try:
        for number in numbers:
            waiting.append(pool.submit(_made, make, number, pinned=pinned))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _by_processes(make: Make, numbers: range, *, workers: int, pinned: bool) -> Generator[Any, None, None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
        loader = DataLoader(
            _Made(make),
            batch_size=None,
            sampler=numbers,
            num_workers=workers,
            collate_fn=_as_it_is,
            pin_memory=pinned,
            worker_init_fn=_leave_interrupts_to_the_parent,
            multiprocessing_context="spawn",
            prefetch_factor=AHEAD,
            generator=torch.Generator(),  # without one it draws from the random state of the training
        )
    try:
        iterator = iter(loader)
    except Exception as error:  # pickle raises whatever the object that it cannot take raises
        raise TrainingError(
            f"The batches cannot be sent to worker processes ({first_line(error.__context__ or error)}): make "
            "`Recipe.batches` an object that can be pickled, or train with no workers."
        ) from error
    try:
        for batch in iterator:
            if isinstance(batch, _Failure):
                raise batch.error()
            yield batch
    except (OSError, EOFError) as error:  # of the pipe through which a worker sends its tensors
        raise _ended(error) from error
    finally:
        # its own __del__ waits until nobody knows the traceback of an error any more
        iterator._shutdown_workers()  # type: ignore[attr-defined]


class _Made(Dataset[Any]):
    """A map from a number to its batch, or to what went wrong."""

    def __init__(self, make: Make) -> None:
        self.make = make

    def __getitem__(self, number: int) -> Any:
        try:
            return self.make(number)
        except Exception as error:
            # DataLoader would put a traceback into the message; a class that is not ours may not even be picklable
            ours = isinstance(error, OmlabError)
            sentence = str(error) if ours else f"Batch {number} cannot be made ({type(error).__name__}: {error})."
            return _Failure(type(error) if ours else TrainingError, sentence, traceback.format_exc())


@dataclass(frozen=True)
class _Failure:
    """An exception of a worker process."""

    kind: type[Exception]
    sentence: str
    trace: str

    def error(self) -> Exception:
        error = self.kind(self.sentence)
        error.add_note(f"In a worker process:\n{self.trace}")
        return error


def _ended(error: Exception) -> TrainingError:
    return TrainingError(
        f"A worker process that makes batches has ended before its time ({first_line(error)}): it was killed, ran out "
        "of memory, or could not import what the batches need (a script must train under "
        "`if __name__ == '__main__':`). Train with fewer workers, or with none."
    )


def _as_it_is(batch: Any) -> Any:
    return batch


def _leave_interrupts_to_the_parent(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)

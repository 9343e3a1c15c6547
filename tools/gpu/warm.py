"""Compile in many processes, into one cache, what the benchmark and the tuner will run; nothing is timed.

`--share i/n` is one of these processes: it runs every n-th task once.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator

import torch


def main() -> int:
    """Run all shares, or one of them; 0 where no process failed and some of the tasks compiled."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--share", default="")
    parser.add_argument("--rehearse", action="store_true")
    asked = parser.parse_args()
    if asked.share:
        return _run_share(*map(int, asked.share.split("/")), rehearse=asked.rehearse)
    from tools.gpu.processes import at_once

    command = [sys.executable, "-u", "-m", "tools.gpu.warm", *(["--rehearse"] if asked.rehearse else [])]
    commands = [[*command, "--share", f"{number}/{asked.processes}"] for number in range(asked.processes)]
    # A process compiles alone: so many with a pool of their own would be in each other's way.
    said = at_once(commands, environment={"TORCHINDUCTOR_COMPILE_THREADS": "1"})
    done = sum(line.startswith("compiled ") for lines in said for line in lines)
    failed = sum(line.startswith("not compiled ") for lines in said for line in lines)
    print(f"{done} compiled, {failed} not; processes that failed: {sum(lines[-1] != '0' for lines in said)}")
    return int(not done or any(lines[-1] != "0" for lines in said))


def _run_share(number: int, count: int, *, rehearse: bool) -> int:
    for name, once in list(_tasks(rehearse=rehearse))[number::count]:
        start = time.monotonic()
        try:
            once()
            print(f"compiled {name}: {time.monotonic() - start:.1f} s", flush=True)
        except Exception as error:  # a tile that does not fit is no news here: the tuner says so
            print(f"not compiled {name}: {type(error).__name__}: {error}".splitlines()[0], flush=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return 0


def _tasks(*, rehearse: bool) -> Iterator[tuple[str, Callable[[], object]]]:
    """The longest first, so that no process is left with one of them at the end."""
    if not rehearse:
        yield from _baselines()
    from tools.gpu.trials import Trial, trials

    device = "cpu" if rehearse else "cuda"

    def run(trial: Trial) -> None:
        from omlab_kernels import tiles

        with tiles.tried(trial.kernel, trial.tile):  # type: ignore[arg-type]
            trial.ready(device).call()

    for trial in trials(rehearse=rehearse):
        yield f"{trial.kernel} {trial.words()} {tuple(trial.tile)}", lambda trial=trial: run(trial)  # type: ignore[misc]


def _baselines() -> Iterator[tuple[str, Callable[[], object]]]:
    from bench import CASES  # type: ignore[import-not-found]  # the benchmark of the kernels
    from measure import ONLY_ON_A_GPU  # type: ignore[import-not-found]

    def run(op: str, way: str, shape: object) -> None:
        CASES[op].prepare(way, shape, device="cuda", drawn=torch.bfloat16, dtype=torch.bfloat16)()

    for op, case in CASES.items():
        for shape in case.shapes["cuda"]:
            for way in case.ways:
                if way in ONLY_ON_A_GPU:
                    yield f"{op} {way} {shape}", lambda op=op, way=way, shape=shape: run(op, way, shape)  # type: ignore[misc]


if __name__ == "__main__":
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    sys.exit(main())

"""What the benchmarks of operators share: all ways of a case in one process, and rows for a `results.csv`.

A script gives its cases to `main`; `--rehearse` takes their smallest shapes on the CPU, to see that all of it runs,
and its times mean nothing. Times on a GPU are the device's own, by events around each run; `graph_ms` is the
p50 of replaying the run as a CUDA graph, without what the host adds, where it can be captured. Every row holds time,
memory and error of one way, the floor that the machine's own copy bandwidth and matrix rate set (measured in the same
run), the versions, and the run: an id of this call of `main`.
Ratios are formed of rows of one run alone.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import platform
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

COLUMNS = [
    "op", "way", "shape", "dtype", "p20_ms", "p50_ms", "p80_ms", "peak_mib", "error", "floor_ms",
    "device", "driver", "threads", "torch", "triton", "date", "omlab_kernels", "monai", "copy_gbs", "tflops",
    "run", "graph_ms",
]  # fmt: skip
_SAYS = "measured: "
ONLY_ON_A_GPU = (
    "flex", "compiled", "compiled-last", "naive-compiled", "nnunet-compiled", "pytorch-compiled",
    "flash-widened-deterministic", "compiled-fused-last",
)  # fmt: skip

Shape = Mapping[str, Any]
Once = Callable[[], tuple[Tensor, ...]]


class Prepare(Protocol):
    """Makes the inputs, drawn from a fixed seed, and gives what is timed: it returns outputs and gradients."""

    def __call__(self, way: str, shape: Shape, *, device: str, drawn: torch.dtype, dtype: torch.dtype) -> Once:
        """`drawn` is the type that inputs are rounded to, `dtype` the one in which they are computed with."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """An operator: its ways, the first of which is the reference in float64 and the last ours.

    `shapes` are those of a `cpu`, of a GPU (`cuda`) and of a `rehearsal`. `work` gives the bytes that must move and the
    operations that must be done, `exact` says whether a shape fits into memory in float64. A `long` case takes seconds:
    on a GPU it runs three times in all, and is not captured.
    """

    ways: Sequence[str]
    shapes: Mapping[str, Sequence[Shape]]
    prepare: Prepare
    work: Callable[[Shape, int], tuple[float, float]]
    exact: Callable[[Shape], bool]
    long: bool = False


def with_gradients(call: Callable[[], Tensor], wanted: Sequence[Tensor]) -> Once:
    """Forward and backward: the output and the gradients of its product with a fixed draw (1 for a scalar)."""
    seed: list[Tensor] = []

    def once() -> tuple[Tensor, ...]:
        out = call()
        if not seed:
            # rounded to what every type holds: an error is then none of the draw
            drawn = drawn_with(1, out.device.type)(*out.shape).bfloat16() if out.ndim else torch.ones(())
            seed.append(torch.empty_like(out).copy_(drawn))  # in the layout of the output
        return out, *torch.autograd.grad(out, wanted, seed[0])

    return once


def drawn_with(seed: int, device: str) -> Callable[..., Tensor]:
    """A normal draw on a device, the same for every way that is measured there."""
    generator = torch.Generator(device).manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=generator, device=device)


def main(cases: Mapping[str, Case], *, script: str, about: str) -> None:
    """Measure what the command line asks for; CUDA is taken where there is a device.

    Exits with 1 where ours gave no row for a shape: a rival may have reasons of its own not to run.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    found = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=["cpu", "cuda"], default=found, help="default: %(default)s")
    parser.add_argument("--only", nargs="+", choices=list(cases), help="these cases, in this order")
    parser.add_argument("--ways", nargs="+", help="these ways, in this order")
    parser.add_argument("--repeats", type=int, help="default: 20 on a GPU, 5 without")
    default = Path(script).with_name("results.csv")
    parser.add_argument("--results", type=Path, default=default, help="where rows go; default: %(default)s")
    parser.add_argument("--rehearse", action="store_true", help="the smallest shapes, on the CPU; give --results too")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.rehearse and asked.results == default:
        parser.error("a rehearsal is no measurement: say with --results where its rows may go")
    if asked.child:
        for found in _child(cases, json.loads(asked.child)):
            print(_SAYS + json.dumps(found), flush=True)
        return
    device = "cpu" if asked.rehearse else asked.device
    shapes = "rehearsal" if asked.rehearse else device
    repeats = asked.repeats or {"cuda": 20, "cpu": 5, "rehearsal": 2}[shapes]
    dtype = "bfloat16" if device == "cuda" else "float32"
    base = {"device": device, "dtype": dtype, "repeats": repeats, "shapes": shapes, "ways": asked.ways}
    rates = next(_in_a_process(script, {"ops": [], **base}))
    rest = _machine(device) | {
        "copy_gbs": f"{rates['copy'] / 1e9:.4g}",
        "tflops": f"{rates['work'] / 1e12:.4g}",
        "run": new_run(),
    }
    wanted = asked.only or list(cases)
    missing = sum(
        len(cases[op].shapes[shapes]) for op in wanted if cases[op].ways[-1] in (asked.ways or cases[op].ways)
    )
    for ops in [wanted] if asked.rehearse else [[op] for op in wanted]:  # what breaks one must not cost the others
        for found in _in_a_process(script, {"ops": ops, **base}):
            op, shape, way = (found.pop(name) for name in ("op", "shape", "way"))
            text = " ".join(f"{name}={value}" for name, value in shape.items())
            if "error_message" in found:
                print(f"{op} {text} {way}: no row: {found['error_message']}", file=sys.stderr)
                continue
            moved, done = cases[op].work(shape, getattr(torch, dtype).itemsize)
            floor = 1e3 * max(moved / rates["copy"], done / rates["work"])
            figures = {name: "" if value is None else f"{value:.4g}" for name, value in found.items()}
            _append(asked.results, {"op": op, "way": way, "shape": text, "dtype": dtype, **figures,
                                    "floor_ms": f"{floor:.4g}", **rest})  # fmt: skip
            print(op, way, text, *(f"{name}={value}" for name, value in figures.items()), flush=True)
            missing -= way == cases[op].ways[-1]
    print(f"rows went to {asked.results}" + (f"; ours has none for {missing} shapes" if missing else ""))
    sys.exit(int(missing > 0))


def new_run() -> str:
    """An id of a run, by its date."""
    return f"{datetime.datetime.now(datetime.UTC):%Y%m%d}-{secrets.token_hex(3)}"


def _in_a_process(script: str, task: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What a child says, a line at a time as it comes."""
    command = [sys.executable, "-u", script, "--child", json.dumps(task)]
    with (
        tempfile.TemporaryFile("w+") as noise,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=noise, text=True) as child,
    ):
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith(_SAYS):
                yield json.loads(line.removeprefix(_SAYS))
        if child.wait():
            noise.seek(0)
            last = (noise.read().strip().splitlines() or [f"exit status {child.returncode}"])[-1]
            print(f"{' '.join(task['ops']) or 'rates'}: {last}", file=sys.stderr)


def _child(cases: Mapping[str, Case], task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    device, dtype = task["device"], getattr(torch, task["dtype"])
    if not task["ops"]:
        yield rates(device, dtype, quick=task["shapes"] == "rehearsal")
    for op in task["ops"]:
        case = cases[op]
        for shape in case.shapes[task["shapes"]]:
            exact = _exact(case, shape, device=device, drawn=dtype)
            for way in task["ways"] or case.ways:
                if (device == "cpu" and way in ONLY_ON_A_GPU) or way not in case.ways:
                    continue
                if device == "cuda":
                    torch.cuda.empty_cache()
                try:
                    figures = _measured(case, way, shape, exact, device=device, dtype=dtype, repeats=task["repeats"])
                except Exception as error:  # whatever a rival cannot do must not cost the other rows
                    figures = {"error_message": f"{type(error).__name__}: {error}".splitlines()[0]}
                yield {"op": op, "shape": dict(shape), "way": way, **figures}


def _exact(case: Case, shape: Shape, *, device: str, drawn: torch.dtype) -> tuple[Tensor, ...] | None:
    """What float64 gives, None where the case or the memory has no room for it."""
    if not case.exact(shape):
        return None
    try:
        return case.prepare(case.ways[0], shape, device=device, drawn=drawn, dtype=torch.float64)()
    except torch.OutOfMemoryError:
        return None


def _measured(
    case: Case, way: str, shape: Shape, exact: tuple[Tensor, ...] | None, *, device: str, dtype: torch.dtype,
    repeats: int,
) -> dict[str, Any]:  # fmt: skip
    once = case.prepare(way, shape, device=device, drawn=dtype, dtype=dtype)
    if case.long and device == "cuda":
        peak, cuts = _peak_mib(once, device), _deciles(_times(once, device, 2))
        return {"p20_ms": cuts[1], "p50_ms": cuts[4], "p80_ms": cuts[7], "peak_mib": peak, "error": None}
    found = once()
    error = None if exact is None else max(_gap(a, b) for a, b in zip(found, exact, strict=True))
    del found
    peak = _peak_mib(once, device)
    if device == "cuda":  # a rival of half a second need not be seen twenty times
        repeats = max(3, min(repeats, int(1000 / _times(once, device, 2)[1])))
    cuts = _deciles(_times(once, device, repeats))
    graph = replayed(once, repeats) if device == "cuda" else None
    return {
        "p20_ms": cuts[1], "p50_ms": cuts[4], "p80_ms": cuts[7], "peak_mib": peak, "error": error, "graph_ms": graph,
    }  # fmt: skip


def _deciles(times: Sequence[float]) -> list[float]:
    return statistics.quantiles(times, n=10, method="inclusive")


def _gap(found: Tensor, exact: Tensor) -> float:
    """The largest error in terms of the largest value; of labels the share that differs."""
    if not exact.is_floating_point():
        return float((found != exact).double().mean())
    return float((found.double() - exact).abs().max() / exact.abs().max())


def _times(once: Callable[[], object], device: str, repeats: int) -> list[float]:
    """Milliseconds of each of `repeats` runs (two at least: one is no distribution)."""
    if device == "cuda":
        return _event_times(once, repeats)
    times = []
    for _ in range(max(2, repeats)):
        start = time.perf_counter()
        once()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def _event_times(once: Callable[[], object], repeats: int) -> list[float]:
    """By the device's clock, from the first launch to the end of the last kernel."""
    pairs = []
    for _ in range(max(2, repeats)):
        pair = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        pair[0].record()
        once()
        pair[1].record()
        torch.cuda.synchronize()
        pairs.append(pair)
    return [begin.elapsed_time(end) for begin, end in pairs]


def replayed(once: Callable[[], object], repeats: int) -> float | None:
    """The p50 of replays of a run as a CUDA graph; None where it cannot be captured."""
    graph = torch.cuda.CUDAGraph()
    try:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                once()
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph):
            once()
    except RuntimeError:
        return None
    return _deciles(_event_times(graph.replay, repeats))[4]


def rates(device: str, dtype: torch.dtype, *, quick: bool = False) -> dict[str, float]:
    """Bytes a second of a copy (read + written) and operations a second of a product of matrices."""
    cuda = device == "cuda"
    size, side = (1 << 31, 8192) if cuda else (1 << 20, 64) if quick else (1 << 28, 1024)
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = source.clone()
    matrix = torch.randn(side, side, device=device).to(dtype)
    copying = min(_times(lambda: target.copy_(source), device, 10)) / 1e3
    working = min(_times(lambda: matrix @ matrix, device, 10)) / 1e3
    return {"copy": 2 * source.nbytes / copying, "work": 2 * side**3 / working}


def _peak_mib(once: Callable[[], object], device: str) -> float:
    """Memory at its highest beyond what was held before."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        once()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        once()
    held = highest = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            highest = max(highest, held)
    return highest / 2**20


def _machine(device: str) -> dict[str, Any]:
    cuda = device == "cuda"
    return {
        "device": torch.cuda.get_device_name() if cuda else f"no GPU: {platform.machine()} CPU",
        "driver": _driver() if cuda else "",
        "threads": torch.get_num_threads(), "torch": torch.__version__, "triton": _installed("triton"),
        "omlab_kernels": _installed("omlab-kernels"), "monai": _installed("monai"),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }  # fmt: skip


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _append(results: Path, row: Mapping[str, Any]) -> None:
    new = not results.exists()
    with results.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)

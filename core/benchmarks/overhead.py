"""What omlab itself costs: a run a case, finding a long run again, the command line, reading ahead.

    python core/benchmarks/overhead.py                      measure, and append rows to results.csv
    python core/benchmarks/overhead.py --way before --python VENV/bin/python --toy OLD/toy --only runs --run ID

Cases are those of the toy plugin of the tests, copied into a temporary folder: three numbers are read from a file, one
is added, two small files are written. Each figure is of a process of its own; `cpu_s` counts its user and system time
and says more than the clock (`p50_s`) on a machine that does other things too (`load`: of the minute before).

    run          omlab predict on a folder of files; `ms_a_case` holds the start, as `run` of 1 case has it
    again        the same command once more: nothing is to be done
    disk         bare Python reads the same files, and writes two for each: what no run can be faster than
    resume       open the log of that many cases and ask each whether it is done; all share one input and one output
    command      the words of a command line, beside bare Python and a bare click group
    overlap      reading, computing and writing take 20, 20 and 10 ms a case; `overlap` is their sum over the time taken
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results.csv"
COLUMNS = [
    "benchmark", "way", "cases", "rounds", "p20_s", "p50_s", "p80_s", "cpu_s", "peak_mib", "ms_a_case", "overlap",
    "load", "machine", "cores", "python", "date", "run",
]  # fmt: skip
RUN = "from omlab.cli import main; main()"
PARTS = (0.020, 0.020, 0.010)

RESUME = """
import sys, time
from pathlib import Path
from omlab.jobs.run_cases import FileCase
from omlab.runs import open_run

def opened():
    return open_run(Path("run"), kind="bench", request={}, arguments={})

cases = [FileCase(id=f"case-{n:06}", files={"signal": [Path("in.sig")]}) for n in range(int(sys.argv[1]))]
run = opened()
began, cpu = time.perf_counter(), time.process_time()
run.close()
assert opened().missing(cases) == []
print(time.perf_counter() - began, time.process_time() - cpu)
"""

FILL = """
import sys
from pathlib import Path
from omlab.records import Record
from omlab.runs import open_run, stamps

Path("in.sig").write_text("signal")
run = open_run(Path("run"), kind="bench", request={}, arguments={})
run.begin()
(run.folder / "out.sig").write_text("signal")
inputs = stamps({"signal": [Path("in.sig")]})
facts = (run.folder / "out.sig").stat()
output = {"path": "out.sig", "role": "main", "size": facts.st_size, "mtime_ns": facts.st_mtime_ns, "sha256": "0" * 64}
for n in range(int(sys.argv[1])):
    run.append(Record(id=f"case-{n:06}", status="done", inputs=inputs, outputs=[output], seconds=0.001))
run.finish()
"""

OVERLAP = """
import sys, time
from pathlib import Path
from omlab.engine import Stages, do_cases
from omlab.jobs.run_cases import FileCase
from omlab.runs import open_run

read, work, write = map(float, sys.argv[2:])
cases = [FileCase(id=f"case-{n}") for n in range(int(sys.argv[1]))]

def written(item, result, folder):
    time.sleep(write)
    return {}

stages = Stages(read=lambda case: time.sleep(read), apply=lambda batch: [time.sleep(work)] * len(batch), write=written)
run = open_run(Path("run"), kind="bench", request={}, arguments={})
run.begin()
began, cpu = time.perf_counter(), time.process_time()
do_cases(run, cases, stages, total=len(cases))
print(time.perf_counter() - began, time.process_time() - cpu)
run.finish()
"""

DISK = """
from pathlib import Path

Path("bare").mkdir()
for path in sorted(Path("in").iterdir()):
    text = path.read_text()
    for suffix in ("sig.txt", "notes"):
        Path("bare", f"{path.stem}.{suffix}").write_text(text)
"""

CLICK = """
import click
group = click.Group("bare", commands=[click.Command("list", callback=lambda: click.echo("nothing"))])
group(["list"])
"""

Figures = tuple[float, float, float]
"""Seconds by the clock, seconds of the processor, MiB."""


class Bench:
    """One interpreter and its toy plugin; each figure is of a process of its own."""

    def __init__(self, python: str, toy: Path, *, way: str, rounds: int, run: str) -> None:
        self.python, self.toy, self.way, self.rounds = python, toy, way, rounds
        self.run = run
        self.rows: list[dict[str, object]] = []

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A working folder with the plugin installed beside it."""
        with tempfile.TemporaryDirectory(prefix="omlab-bench-") as name:
            site = Path(name) / "site"
            shutil.copytree(self.toy, site / "omlab_toy", ignore=shutil.ignore_patterns("__pycache__"))
            info = site / "omlab_toy-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text("Metadata-Version: 2.1\nName: omlab-toy\nVersion: 1.0\n")
            (info / "entry_points.txt").write_text("[omlab]\ntoy = omlab_toy.plugin\n")
            here = Path(name) / "here"
            here.mkdir()
            yield here

    def process(self, here: Path, code: str, *words: object, plugins: str = "toy") -> tuple[Figures, str]:
        """Run `code` in a process of its own: its figures and what it printed."""
        said = here / "said.txt"
        variables = {"PYTHONPATH": str(here.parent / "site"), "OMLAB_PLUGINS": plugins, "OMP_NUM_THREADS": "1"}
        began = time.perf_counter()
        child = os.fork()
        if not child:
            os.chdir(here)
            out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1)
            os.dup2(os.open(here / "err.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            os.execve(self.python, [self.python, "-c", code, *map(str, words)], {**os.environ, **variables})
        _, status, used = os.wait4(child, 0)
        took = time.perf_counter() - began
        if status:
            sys.exit(f"{words} failed:\n{(here / 'err.txt').read_text()}")
        return (took, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024), said.read_text()

    def add(self, benchmark: str, found: Sequence[Figures], *, cases: int = 0, overlap: float | None = None) -> None:
        """Keep the figures of all rounds as a row."""
        times, cpu, peak = (sorted(figures) for figures in zip(*found, strict=True))
        row = {
            "benchmark": benchmark, "way": self.way, "cases": cases or "", "rounds": len(found),
            "p20_s": _round(_quantile(times, 0.2)), "p50_s": _round(statistics.median(times)),
            "p80_s": _round(_quantile(times, 0.8)), "cpu_s": _round(statistics.median(cpu)),
            "peak_mib": round(statistics.median(peak)),
            "ms_a_case": _round(1000 * statistics.median(cpu) / cases) if cases >= 100 else "",
            "overlap": "" if overlap is None else round(overlap, 2), "load": round(os.getloadavg()[0], 1),
            "machine": platform.processor() or platform.machine(), "cores": os.cpu_count(),
            "python": platform.python_version(), "date": time.strftime("%Y-%m-%d", time.gmtime()), "run": self.run,
        }  # fmt: skip
        self.rows.append(row)
        print("  ".join(f"{name} {row[name]}" for name in COLUMNS[:12] if row[name] != ""), flush=True)

    def runs(self, cases: int) -> None:
        """A run over many files, and the same once more."""
        first, again, disk = [], [], []
        for _ in range(1 if cases > 2000 else self.rounds):
            with self.folder() as here:
                (here / "in").mkdir()
                for number in range(cases):
                    (here / "in" / f"case-{number:06}.sig").write_text(f"signal\n1\n2\n{number}")
                words = ("predict", "adder.untrained", "in", "-o", "out")
                first.append(self.process(here, RUN, *words)[0])
                again.append(self.process(here, RUN, *words)[0])
                disk.append(self.process(here, DISK)[0])
        self.add("run", first, cases=cases)
        self.add("again", again, cases=cases)
        self.add("disk", disk, cases=cases)

    def resume(self, cases: int) -> None:
        """Open a long log, and ask for each case whether it is done."""
        with self.folder() as here:
            self.process(here, FILL, cases)
            self.add("resume", [self._told(here, RESUME, cases) for _ in range(self.rounds)], cases=cases)

    def overlap(self, cases: int) -> None:
        """How far reading, computing and writing go on at once."""
        found = []
        for _ in range(self.rounds):
            with self.folder() as here:
                found.append(self._told(here, OVERLAP, cases, *PARTS))
        self.add("overlap", found, cases=cases, overlap=cases * sum(PARTS) / statistics.median(f[0] for f in found))

    def _told(self, here: Path, code: str, *words: object) -> Figures:
        (_, _, peak), said = self.process(here, code, *words)
        took, cpu = map(float, said.split())
        return took, cpu, peak

    def commands(self) -> None:
        """What the command line costs before it does anything."""
        everything = ",".join(sorted({entry.name for entry in entry_points(group="omlab")} | {"toy"}))
        asked: list[tuple[str, str, Sequence[str], str]] = [
            ("python -c pass", "pass", (), "toy"),
            ("bare click group", CLICK, (), "toy"),
            ("omlab list", RUN, ("list",), everything),
            ("omlab predict --help", RUN, ("predict", "--help"), everything),
        ]
        with self.folder() as here:
            for name, code, words, plugins in asked:
                self.process(here, code, *words, plugins=plugins)  # writes the bytecode
                rounds = [self.process(here, code, *words, plugins=plugins)[0] for _ in range(3 * self.rounds)]
                self.add(name, rounds)


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[round(share * (len(ordered) - 1))]


def _round(value: float) -> float:
    return float(f"{value:.4g}")


def write(rows: Sequence[dict[str, object]], path: Path) -> None:
    """Append rows to the CSV file."""
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        if is_new:
            table.writeheader()
        table.writerows(rows)


def main() -> None:
    """Measure and append rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--python", default=sys.executable, help="interpreter of the omlab that is measured")
    parser.add_argument("--toy", type=Path, default=HERE.parent / "tests" / "toy", help="its toy plugin")
    parser.add_argument("--way", default="now", help="what the rows call it")
    parser.add_argument("--cases", type=int, nargs="*", default=[1, 1000, 10000], help="lengths of runs")
    parser.add_argument("--only", nargs="*", default=["runs", "resume", "overlap", "commands"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--run", default=uuid.uuid4().hex[:8], help="that of the rows beside which these are measured")
    given = parser.parse_args()
    bench = Bench(given.python, given.toy.resolve(), way=given.way, rounds=given.rounds, run=given.run)
    once: dict[str, Callable[[], None]] = {
        "runs": lambda: [bench.runs(cases) for cases in given.cases] and None,
        "resume": lambda: bench.resume(100_000),
        "overlap": lambda: bench.overlap(100),
        "commands": bench.commands,
    }
    for name in given.only:
        once[name]()
    write(bench.rows, RESULTS)


if __name__ == "__main__":
    main()

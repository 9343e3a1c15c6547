"""The phases of a visit to a GPU: each ends in its time, none stops the next, and a summary says how each went.

    tools/gpu_check.sh [--rehearse] [--only PHASE ...] [--wheels FOLDER] [--out FOLDER]

A phase ends at the latest when its time and that of the phases before it are over, so what one leaves the next may
take. Its output is written to `OUT/PHASE.log` as it comes, and `OUT/summary.txt` anew after each phase: whatever cuts
the visit short, what was found is there. `--rehearse` runs all phases with tiny shapes on the CPU, kernels in Triton's
interpreter: to see that they run, not for any number. Only the standard library is used here.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "packages" / "omlab-kernels"
STUNET = ROOT / "contrib" / "omlab-stunet"
NETWORKS = [STUNET / "src", *(ROOT / "packages" / f"omlab-{name}" / "src" for name in ("payloads", "volume"))]
SKIPPED = 77
"""Exit status of a phase that this machine has nothing for, as automake's tests have it."""


@dataclass(frozen=True)
class Phase:
    """What runs under a name, for at most so many seconds; `{out}` in its command is the folder of results."""

    name: str
    seconds: float
    command: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """How a phase went: passed, failed, cut short or skipped; its seconds and the last line that it said."""

    status: str
    seconds: float
    said: str


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-u", "-m", f"tools.gpu.{name}", *arguments)


BENCH = (sys.executable, "-u", str(KERNELS / "benchmarks" / "bench.py"), "--results", "{out}/results.csv")
NETWORK = (sys.executable, "-u", str(STUNET / "benchmarks" / "network.py"), "--results", "{out}/networks.csv")
WAYS = ("fused-last", "fused", "compiled", "eager", "compiled-last", "eager-last", "compiled-fused-last")
"""Of STU-Net's step, what is asked most first: a compiled one takes half a minute to make."""
PHASES = (
    Phase("card", 20, _module("card")),
    Phase("tests", 60, _module("suite", "kernels", "--processes", "12")),
    Phase("promises", 45, _module("suite", "promises", "--processes", "6")),
    Phase("compile", 75, _module("warm", "--processes", "14")),
    Phase("benchmark", 130, BENCH),
    Phase("tune", 40, _module("tune", "--out", "{out}")),
    Phase("training", 110, (*NETWORK, "--only", "training", "--repeats", "10", "--ways", *WAYS)),
    Phase("prediction", 70, (*NETWORK, "--only", "prediction")),
    Phase("probe", 40, _module("probe")),
)
PLAIN = ("env", "OMLAB_KERNELS=torch")  # the interpreter takes minutes for a network
_LONG = 300  # a CPU may be shared, and a rehearsal is not about time
REHEARSAL = (
    Phase("card", _LONG, _module("card")),
    Phase("tests", _LONG, _module("suite", "kernels", "--processes", "2", "--marks", "gpu")),
    Phase("promises", _LONG, _module("suite", "promises", "--processes", "2", "--marks", "gpu")),
    Phase("compile", _LONG, _module("warm", "--processes", "2", "--rehearse")),
    Phase("benchmark", _LONG, (*BENCH, "--rehearse")),
    Phase("tune", _LONG, _module("tune", "--out", "{out}", "--rehearse")),
    Phase("training", _LONG, (*PLAIN, *NETWORK, "--only", "training", "--rehearse")),
    Phase("prediction", _LONG, (*PLAIN, *NETWORK, "--only", "prediction", "--rehearse")),
    Phase("probe", _LONG, _module("probe", "--rehearse")),
)


def main() -> int:
    """Run the phases; 0 where all passed or had nothing to do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rehearse", action="store_true", help="tiny shapes on the CPU")
    parser.add_argument("--only", nargs="+", choices=[phase.name for phase in PHASES], help="these phases alone")
    parser.add_argument(
        "--wheels", type=Path, default=ROOT / "wheels", help="a folder with pure Python wheels to use (MONAI's)"
    )
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "gpu-check")), help="default: $OUT")
    asked = parser.parse_args()
    phases = REHEARSAL if asked.rehearse else PHASES
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the phase at hand ends too
    wheels = sorted(asked.wheels.absolute().glob("*.whl"))  # Python imports from them as they are
    chosen = [phase for phase in phases if not asked.only or phase.name in asked.only]
    environment = surroundings(wheels, rehearse=asked.rehearse)
    return visit(chosen, out=asked.out.absolute(), environment=environment)


def visit(phases: Sequence[Phase], *, out: Path, environment: Mapping[str, str]) -> int:
    """Run phases one after the other, with their logs and a summary in `out`; 0 where none failed or was cut short."""
    out.mkdir(parents=True, exist_ok=True)
    end, summary = time.monotonic(), ""
    outcomes: list[Outcome] = []
    for phase in phases:
        end += phase.seconds
        print(f"\n== {phase.name}: until {end - time.monotonic():.0f} s from now", flush=True)
        outcomes.append(run(phase, out=out, environment=environment, seconds=end - time.monotonic()))
        rows = zip(phases, outcomes, strict=False)
        summary = "".join(f"{row.name:10} {one.status:10} {one.seconds:4.0f} s  {one.said}\n" for row, one in rows)
        summary += "".join(f"{left.name:10} not started\n" for left in phases[len(outcomes) :])
        (out / "summary.txt").write_text(summary, encoding="utf-8")
    print(f"\n{summary}results: {out}", flush=True)
    return int(any(outcome.status not in ("passed", "skipped") for outcome in outcomes))


def run(phase: Phase, *, out: Path, environment: Mapping[str, str], seconds: float) -> Outcome:
    """Run one phase, its output to its log and on as it comes; whatever it started ends with it."""
    start, said = time.monotonic(), [""]
    command = [part.replace("{out}", str(out)) for part in phase.command]
    with (
        (out / f"{phase.name}.log").open("w", encoding="utf-8") as log,
        subprocess.Popen(
            command, cwd=ROOT, env=dict(environment), start_new_session=True, text=True, errors="replace",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as child,
    ):  # fmt: skip

        def follow() -> None:
            assert child.stdout is not None
            for line in child.stdout:
                for where in (log, sys.stdout):
                    where.write(line)
                    where.flush()
                said[0] = line.strip() or said[0]

        reader = Thread(target=follow, daemon=True)
        reader.start()
        try:
            code = child.wait(max(seconds, 1))
            status = {0: "passed", SKIPPED: "skipped"}.get(code, "failed")
        except subprocess.TimeoutExpired:
            status = "cut short"
        finally:
            _end_group(child.pid)
            reader.join(5)
    return Outcome(status, time.monotonic() - start, said[0])


def _end_group(leader: int) -> None:
    """End a phase's process and all that it started: the session that is its own."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def surroundings(wheels: Sequence[Path], *, rehearse: bool) -> dict[str, str]:
    """Environment of all phases: our sources, one cache of compiled kernels, and for a rehearsal no GPU."""
    cache = Path(tempfile.gettempdir()) / "omlab-gpu-check"  # not in the results; a second visit finds it
    sources = [ROOT, KERNELS / "src", KERNELS / "benchmarks", ROOT / "core" / "src", *NETWORKS, *wheels]
    made = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*map(str, sources), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
        "TRITON_CACHE_DIR": str(cache / "triton"),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
    }
    if rehearse:
        made |= {"CUDA_VISIBLE_DEVICES": "", "OMLAB_KERNELS": "interpret", "TRITON_INTERPRET": "1"}
    return made


if __name__ == "__main__":
    sys.exit(main())

"""`tools/gpu_check.sh`: phases keep their time and go their own ways, shares add up, and all of it runs on the CPU."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.gpu import check
from tools.gpu.check import Phase
from tools.workspace import ROOT

BENCHMARKS = ROOT / "packages" / "omlab-kernels" / "benchmarks"


def says(code: str) -> tuple[str, ...]:
    return (sys.executable, "-u", "-c", code)


def visited(tmp_path: Path, *phases: Phase) -> tuple[int, dict[str, list[str]]]:
    """The exit status and the words of the summary's lines, by phase."""
    code = check.visit(phases, out=tmp_path, environment=dict(os.environ))
    lines = (tmp_path / "summary.txt").read_text().splitlines()
    return code, {name: rest for name, *rest in map(str.split, lines)}


def test_no_phase_stops_the_next(tmp_path: Path) -> None:
    code, said = visited(
        tmp_path,
        Phase("breaks", 20, says("print('so far'); raise SystemExit('went wrong')")),
        Phase("absent", 20, says(f"print('no such program'); raise SystemExit({check.SKIPPED})")),
        Phase("works", 20, says("print('one'); print('two')")),
    )
    assert code == 1
    assert said["breaks"][0] == "failed"
    assert said["breaks"][-2:] == ["went", "wrong"]
    assert said["absent"][0] == "skipped"
    assert said["works"][0] == "passed"
    assert said["works"][-1] == "two"
    assert (tmp_path / "works.log").read_text() == "one\ntwo\n"


def test_a_phase_that_takes_too_long_is_cut_short_with_all_that_it_started(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    inner = f"import time; time.sleep(4); open({str(mark)!r}, 'w')"
    code = f"import subprocess, sys; print('begun'); subprocess.run([sys.executable, '-c', {inner!r}])"
    start = time.monotonic()
    status, said = visited(tmp_path, Phase("hangs", 3, says(code)), Phase("next", 20, says("print('reached')")))
    assert status == 1
    assert said["hangs"][:2] == ["cut", "short"]
    assert said["hangs"][-1] == "begun"  # what was said until then is kept
    assert said["next"][0] == "passed"
    time.sleep(max(0.0, start + 5.5 - time.monotonic()))
    assert not mark.exists()


def test_what_a_phase_leaves_the_next_may_take(tmp_path: Path) -> None:
    quick, slow = Phase("quick", 20, says("pass")), Phase("slow", 0.5, says("import time; time.sleep(1.5)"))
    assert visited(tmp_path, quick, slow)[0] == 0
    assert visited(tmp_path, slow)[1]["slow"][0] == "cut"


def test_a_visit_fits_into_ten_minutes() -> None:
    assert sum(phase.seconds for phase in check.PHASES) <= 600
    assert [phase.name for phase in check.PHASES] == [phase.name for phase in check.REHEARSAL]


def test_shares_of_the_tests_add_up(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text("".join(f"def test_{n}(): print('ran {n}.')\n" for n in range(5)))
    ran = []
    for share in ("0/2", "1/2"):
        environment = os.environ | {"OMLAB_TESTS_SHARE": share, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "tools.gpu.suite", "-c", os.devnull, str(tmp_path)]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
        ran.append({n for n in range(5) if f"ran {n}." in done.stdout})
    assert ran == [{0, 2, 4}, {1, 3}]


def test_the_table_is_tried_first_and_the_quickest_that_is_right_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from omlab_kernels import tiles
    from tools.gpu.trials import trials
    from tools.gpu.tune import best

    groups: dict[tuple[str, str], list[object]] = {}
    for trial in trials():
        groups.setdefault((trial.kernel, trial.words()), []).append(trial.tile)
    assert groups["forward", "grid=16 heads=12 head=64 bits=16"][0] == tiles.attention(
        "forward", kind="half", head=64, tokens=4096
    )
    assert groups["dice", "classes=105 side=128"][0] == tiles.sweep("dice", classes=105)
    assert all(len(own) == len(set(own)) > 1 for own in groups.values())
    rows = [("a", "9", "right"), ("b", "1", "wrong"), ("c", "", "failed: no room"), ("d", "4", "right")]
    found = best({"kernel": "dice", "shape": "s", "tile": t, "ms": ms, "verdict": v} for t, ms, v in rows)
    assert found == "dice s: best d: 4; now a: 9\n"


@pytest.mark.slow
def test_all_phases_run_on_a_cpu(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("OMLAB_KERNELS", "OUT")}
    done = subprocess.run(
        [ROOT / "tools" / "gpu_check.sh", "--rehearse", "--out", str(tmp_path)],
        env=environment | {"PYTHON": sys.executable}, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    summary = (tmp_path / "summary.txt").read_text()
    assert [line.split()[1] for line in summary.splitlines()] == ["passed"] * len(check.PHASES), summary
    with (tmp_path / "results.csv").open(newline="") as file:
        ways = {(row["op"], row["way"]) for row in csv.DictReader(file)}
    assert {("attention", "ours"), ("loss-nnunet", "nnunet"), ("window", "ours")} <= ways
    with (tmp_path / "tiles.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["verdict"] for row in rows} == {"right"}
    assert not any(row["ms"] for row in rows)  # nothing is timed
    assert {row["kernel"] for row in rows} == {"forward", "by_queries", "by_keys", "dice", "norm", "accumulate"}

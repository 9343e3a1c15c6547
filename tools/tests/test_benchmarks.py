"""The page of benchmarks says what the rows say."""

from pathlib import Path

import pytest

from tools import benchmarks

HEAD = "op,way,shape,dtype,p20_ms,p50_ms,p80_ms,peak_mib,error,floor_ms,device,driver,threads,torch,triton,date,run"
CPU = "no GPU: x86_64 CPU,,1,2.13,3.7,2026-11-22,a"
TWO_THREADS = "no GPU: x86_64 CPU,,2,2.13,3.7,2026-11-22,b"
GPU = "NVIDIA X,580,8,2.13,3.7,2026-11-23,c"
OTHER_GPU = "NVIDIA Y,580,8,2.13,3.7,2026-11-23,d"


def written(root: Path, *rows: str, head: str = HEAD, package: str = "packages/omlab-kernels") -> Path:
    folder = root / package / "benchmarks"
    folder.mkdir(parents=True)
    (folder / "results.csv").write_text("\n".join([head, *rows]) + "\n")
    return root


def attention(way: str, p50: float, machine: str) -> str:
    return f"attention,{way},grid=8 heads=1,bfloat16,{p50 - 1},{p50},{p50 + 1},12.3,1e-3,2,{machine}"


def test_a_study_without_times_is_none_of_the_benchmarks(tmp_path: Path) -> None:
    root = written(tmp_path, "random,0,0.2", head="policy,seed,best", package="packages/omlab-protein")
    assert benchmarks.read_rows(root) == {}


def test_rows_become_ratios_and_a_missing_gpu_is_said(tmp_path: Path) -> None:
    page = benchmarks.page(written(tmp_path, attention("naive", 30, CPU), attention("ours", 12, CPU)))
    assert "| grid=8 heads=1 | naive | 30 (29 to 31) | 2.50 (2.23 to 2.82) | 15.0 | 12.3 | 1.0e-03 |" in page
    assert "| grid=8 heads=1 | **ours** | 12 (11 to 13) |  | 6.0 |" in page
    assert "No GPU was at hand: these rows are of a CPU" in page
    assert "**no GPU: x86_64 CPU, 1 thread, bfloat16, torch 2.13, triton 3.7, 2026-11-22, run a**" in page


def ratios(page: str) -> list[str]:
    """What stands in the column of ratios."""
    lines = [line.split(" | ") for line in page.splitlines() if line.startswith("| grid=")]
    return [cells[3] for cells in lines if cells[3].strip()]


@pytest.mark.parametrize("other", [TWO_THREADS, TWO_THREADS.replace(",b", ",a"), GPU])
def test_other_threads_and_other_cards_have_tables_of_their_own(tmp_path: Path, other: str) -> None:
    rows = [attention("naive", 30, CPU), attention("ours", 20, CPU), attention("ours", 6, other)]
    assert ratios(benchmarks.page(written(tmp_path, *rows))) == ["1.50 (1.38 to 1.63)"]


@pytest.mark.parametrize(
    "other", [CPU.replace(",a", ",z"), CPU.replace("2026-11-22", "2026-11-21"), CPU.replace("2.13", "2.14")]
)
def test_rows_of_two_runs_are_not_divided_by_each_other(tmp_path: Path, other: str) -> None:
    page = benchmarks.page(written(tmp_path, attention("naive", 30, CPU), attention("ours", 6, other)))
    assert not ratios(page)


def test_rows_without_a_run_are_compared_where_every_setting_agrees(tmp_path: Path) -> None:
    old, threads = CPU.removesuffix("a"), TWO_THREADS.removesuffix("b")
    rows = [attention(way, p50, machine) for machine in (old, threads) for way, p50 in (("naive", 30), ("ours", 20))]
    assert ratios(benchmarks.page(written(tmp_path, *rows[:3]))) == ["1.50 (1.38 to 1.63)"]
    assert len(ratios(benchmarks.page(written(tmp_path / "both", *rows)))) == 2


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        (10, "Met: 2.00 times as fast. flex: not measured yet."),
        (16, "Missed by 17%: 1.25 times as fast, not 1.5. flex: not measured yet."),
    ],
)
def test_goals_are_judged_by_the_better_alternative(tmp_path: Path, ours: float, verdict: str) -> None:
    rows = [attention("sdpa-mask", 30, GPU), attention("flash-widened", 20, GPU), attention("ours", ours, GPU)]
    page = benchmarks.page(written(tmp_path, *rows))
    assert f"| grid=8 heads=1 | {verdict} |" in page
    goals = page.partition("## Goals")[2].partition("\n## ")[0]
    waiting = [line.split(" | ")[1] for line in goals.splitlines() if line.endswith("| not measured yet |")]
    assert waiting == ["grid=16", "grid=24", "classes=14", "classes=105", "size=base", "size=large", "slices=600"]
    assert "these rows are of a CPU" not in page


def test_goals_that_were_not_measured_are_no_table(tmp_path: Path) -> None:
    page = benchmarks.page(written(tmp_path, attention("naive", 30, CPU), attention("ours", 12, CPU)))
    goals = page.partition("## Goals")[2].partition("\n## ")[0]
    assert goals.count("not measured yet.") == 5  # the four of a GPU and the encoder's
    assert "|" not in goals


def test_each_card_is_judged_by_its_own_rows(tmp_path: Path) -> None:
    rows = [attention("sdpa-mask", 30, GPU), attention("ours", 10, GPU), attention("ours", 1, OTHER_GPU)]
    page = benchmarks.page(written(tmp_path, *rows))
    first, second = page.partition("**NVIDIA X**")[2].partition("\n## ")[0].split("**NVIDIA Y**")
    assert "Met: 3.00 times as fast." in first
    assert "| grid=8 heads=1 | sdpa-mask, flex, flash-widened: not measured yet. |" in second
    assert second.count("not measured yet |") == 7


def test_the_loss_is_judged_by_time_memory_and_bandwidth(tmp_path: Path) -> None:
    def row(way: str, p50: float) -> str:
        return f"loss,{way},classes=16 side=128,bfloat16,{p50},{p50},{p50},100,1e-3,0.6,{GPU}"

    page = benchmarks.page(written(tmp_path, row("naive-compiled", 3), row("monai", 4), row("ours", 1)))
    assert "Missed by 20%: 4.00 times as fast as MONAI, not 5. Met: 3.00 times as fast as compiled." in page
    assert "Met: 36 MiB beyond the gradient, of 64 allowed. Missed by 14%: 0.60 of the copy bandwidth" in page


def test_graphs_have_a_column_and_a_verdict_where_all_could_be_replayed(tmp_path: Path) -> None:
    times = {"sdpa-mask": 30, "flex": 40, "flash-widened": 20, "ours": 10}
    rows = [f"{attention(way, p50, GPU)},{p50 / 4 if way == 'ours' else p50}" for way, p50 in times.items()]
    page = benchmarks.page(written(tmp_path, *rows, head=f"{HEAD},graph_ms"))
    assert "| grid=8 heads=1 | Met: 2.00 times as fast. As graphs 8.00. |" in page
    assert "| grid=8 heads=1 | **ours** | 10 (9 to 11) | 2.5 |  | 5.0 |" in page


def test_the_form_of_nnunet_is_judged_beside(tmp_path: Path) -> None:
    rows = [f"loss-nnunet,{way},classes=14 side=128,bfloat16,{p50},{p50},{p50},100,1e-3,0.6,{GPU}"
            for way, p50 in (("nnunet", 9), ("nnunet-compiled", 3), ("ours", 1))]  # fmt: skip
    page = benchmarks.page(written(tmp_path, *rows))
    assert "Met: 3.00 times as fast as nnU-Net's, compiled. 9.00 times as fast as it is. |" in page


def test_the_export_is_judged_by_its_memory_and_time(tmp_path: Path) -> None:
    def row(way: str, p50: float, peak: float) -> str:
        return f"prediction,{way},size=base,bfloat16,{p50},{p50},{p50},{peak},,0,{GPU}"

    page = benchmarks.page(written(tmp_path, row("network", 100, 2000), row("ours", 250, 5000)))
    assert "Met: 3,000 MiB beyond the network's. Missed: export 150% of its time." in page


def test_the_last_row_of_a_machine_counts(tmp_path: Path) -> None:
    page = benchmarks.page(written(tmp_path, attention("ours", 40, CPU), attention("ours", 12, CPU)))
    assert "12 (11 to 13)" in page
    assert "40 (39 to 41)" not in page
    later = CPU.replace(",a", ",e")
    rows = [attention("naive", 90, CPU), attention("ours", 40, CPU), attention("ours", 12, later)]
    page = benchmarks.page(written(tmp_path / "later", *rows))
    assert "12 (11 to 13)" in page
    assert "40 (39 to 41)" not in page
    assert not ratios(page)  # the later run has nothing to compare with


def test_each_machine_has_its_plot_in_two_themes(tmp_path: Path) -> None:
    root = written(tmp_path, attention("naive", 30, CPU), attention("ours", 12, CPU), attention("ours", 1.5, GPU))
    plots = dict(benchmarks.plots(root))
    assert len(plots) == 4
    assert all(picture.startswith(b"<?xml") for picture in plots.values())
    page = benchmarks.page(root)
    assert all(f"]({path}#only-" in page for path in plots)


def test_other_tables_are_shown_as_they_are(tmp_path: Path) -> None:
    head = "benchmark,way,p20_s,p50_s,p80_s,differing,machine,cores,date"
    rows = ["window,monai,1,2.5,3,,EPYC,2,2026-11-22", "window,omlab,1,1.5,3,,EPYC,2,2026-11-22"]
    page = benchmarks.page(written(tmp_path, *rows, head=head, package="packages/omlab-volume"))
    assert (
        "| benchmark | way | p20 s | p50 s | p80 s |\n|---|---|---|---|---|\n| window | monai | 1 | 2.5 | 3 |" in page
    )
    assert "**EPYC, 2 cores, 2026-11-22**" in page


def test_helpers_of_benchmarks_are_not_run(tmp_path: Path) -> None:
    (tmp_path / "record.py").write_text("def append() -> None: ...\n")
    (tmp_path / "window.py").write_text('def main() -> None: ...\n\n\nif __name__ == "__main__":\n    main()\n')
    assert [path.name for path in benchmarks.scripts(tmp_path)] == ["window.py"]
    ours = {path.name for package in benchmarks.ROOT.glob("*/*/benchmarks") for path in benchmarks.scripts(package)}
    assert {"bench.py", "network.py", "sliding_window.py"} <= ours
    assert not {"measure.py", "record.py"} & ours


def test_every_row_that_is_compared_names_its_run() -> None:
    rows = [row for rows in benchmarks.read_rows().values() for row in rows if "op" in row]
    assert rows
    assert all(row["run"] and row["threads"] for row in rows)

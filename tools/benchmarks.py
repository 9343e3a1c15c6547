"""The page of benchmarks, made from the packages' `benchmarks/*.csv` when the site is built.

A CSV with the columns `op, way, shape` has alternatives to compare: a table with ratios and a plot for each operator.
Any other is shown as it is. Of rows that measure the same thing on the same machine the last one counts.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tools.workspace import ROOT

if TYPE_CHECKING:  # nox reads this module in an environment without them
    from matplotlib.axes import Axes

    from omlab_report.themes import Theme

Row = dict[str, str]

NO_GPU = "no GPU"
TITLES = {
    "attention": "Attention with a relative position",
    "loss": "Dice + cross-entropy",
    "norm": "Instance norm + LeakyReLU",
    "fusion": "Volume Fusion",
    "window": "Scores to labels on another grid",
    "forward": "STU-Net, inference",
    "training": "STU-Net, forward and backward",
    "prediction": "STU-Net, from an image to its labels",
}
MACHINE = (
    "device", "machine", "processor", "cores", "threads", "driver",
    "python", "torch", "triton", "monai", "omlab_kernels", "numpy", "date",
)  # fmt: skip
BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
HOW = """The figures of every package's `benchmarks/` folder, each way beside the others in one run.
`nox -s bench` measures on the machine at hand (on a GPU where there is one) and appends rows to the CSV files; this
page is made from them.

Times are p50, and p20 to p80. *Ours is* says how many times as fast ours is. The *floor* is what the machine could do
at best: the bytes that must move at its copy bandwidth, or the operations at its rate of matrix products, both
measured in the same run. Memory is the highest beyond the inputs. The error is against float64, in terms of the
largest value; of labels it is the share that differs. Where a LeakyReLU's argument is zero up to rounding its slope
may be either one: one such voxel of millions shows as an error of 0.01 of the gradients."""
ENCODER_GOAL = "SAM-Med3D's encoder at 128^3 on a CPU: 6 times as fast as padded, with at most 70 % of its memory"


def scripts(folder: Path) -> list[Path]:
    """The benchmarks among the Python files of `folder`; the others help them and are not run."""
    return [path for path in sorted(folder.glob("*.py")) if '\nif __name__ == "__main__":' in path.read_text("utf-8")]


def read_rows(root: Path = ROOT) -> dict[str, list[Row]]:
    """The last rows of each thing that was measured, by package: `packages/*` first."""
    found: dict[str, list[Row]] = {}
    for pattern in ("packages/*/benchmarks/*.csv", "contrib/*/benchmarks/*.csv"):
        for path in sorted(root.glob(pattern)):
            with path.open(newline="", encoding="utf-8") as file:
                found.setdefault(path.parts[-3], []).extend(_latest(csv.DictReader(file)))
    return found


def _latest(rows: Iterable[Row]) -> list[Row]:
    last: dict[tuple[str, ...], Row] = {}
    for row in rows:
        names = list(row)
        first_figure = next(place for place, name in enumerate(names) if name.startswith("p20_"))
        same = [name for name in names[:first_figure] if name != "date"] + ["device", "machine", "processor", "threads"]
        key = tuple(row.get(name, "") for name in same)
        last.pop(key, None)  # a later row also takes a later place
        last[key] = row
    return list(last.values())


def page(root: Path = ROOT) -> str:
    """The page in Markdown."""
    found = read_rows(root)
    compared = [row for rows in found.values() for row in rows if "op" in row]
    parts = ["# Benchmarks", HOW, "## Goals", _goals(compared, found.get("omlab-sammed3d", []))]
    for op, rows in _by(compared, "op").items():
        parts.append(f"## {TITLES.get(op, op)}")
        if all(_without_gpu(row) for row in rows):
            parts.append("No GPU was at hand: these rows are of a CPU, without the forms that are made for a GPU.")
        for device, own in _by(rows, "device").items():
            picture = f"images/benchmarks/{op}-{_slug(device)}"
            alternative = f"{TITLES.get(op, op)} on {device}: time of each way"
            parts.append(f"**{_machine(own[-1])}**")
            parts.append("\n".join(f"![{alternative}]({picture}-{t}.svg#only-{t})" for t in ("light", "dark")))
            parts.append(_comparison(own))
    for package, rows in found.items():
        plain = [row for row in rows if "op" not in row]
        if plain:
            parts += [f"## {package}", *_plain(plain)]
    return "\n\n".join(parts) + "\n"


def plots(root: Path = ROOT) -> Iterator[tuple[str, bytes]]:
    """Path within the site and SVG of every plot of the page."""
    compared = [row for rows in read_rows(root).values() for row in rows if "op" in row]
    for op, rows in _by(compared, "op").items():
        for device, own in _by(rows, "device").items():
            for theme in ("light", "dark"):
                yield f"images/benchmarks/{op}-{_slug(device)}-{theme}.svg", _svg(own, theme)


def _svg(rows: list[Row], theme: str) -> bytes:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    from omlab_report.themes import THEMES, render_svg

    shapes = list(_by(rows, "shape").items())

    def draw(look: Theme) -> Figure:
        lines = sum(len(own) for _, own in shapes)
        canvas = Figure(figsize=(4.8, 0.24 * lines + 0.45 * len(shapes) + 0.6), layout="constrained")
        heights = [len(own) + 0.5 for _, own in shapes]
        grid = canvas.subplots(len(shapes), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (shape, own) in zip(grid, shapes, strict=True):
            _dots(axes, own, look)
            axes.set_title(shape, fontsize=9)
        low, high = grid[0].get_xlim()
        high *= (high / low) ** 0.25  # room for the figures beside the dots
        grid[0].set_xlim(low, high)
        grid[-1].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,), numticks=7))
        grid[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        grid[-1].xaxis.set_minor_formatter(NullFormatter())
        grid[-1].set_xlabel("milliseconds: p50, p20 to p80; dashed: the floor")
        return canvas

    return render_svg(draw, THEMES[f"{theme}_wide"])


def _dots(axes: Axes, rows: list[Row], look: Theme) -> None:
    """One line for each way: a dot at p50, a bar from p20 to p80. Times span decades, so the axis is logarithmic."""
    places = range(len(rows), 0, -1)
    for place, row in zip(places, rows, strict=True):
        p20, p50, p80 = (float(row[name]) for name in ("p20_ms", "p50_ms", "p80_ms"))
        colour = look.series[0] if _is_ours(row) else look.muted
        axes.plot([p20, p80], [place, place], color=colour, linewidth=2)
        axes.plot([p50], [place], marker="o", color=colour)
        axes.annotate(f"  {_short(row['p50_ms'])}", (max(p80, p50), place), va="center", fontsize=8)
    if float(rows[0]["floor_ms"] or 0):
        axes.axvline(float(rows[0]["floor_ms"]), color=look.series[1], linestyle="--", linewidth=1.2)
    axes.set_xscale("log")
    axes.set_ylim(0.4, len(rows) + 0.6)
    axes.set_yticks(list(places), [row["way"] for row in rows])
    axes.grid(axis="both")


def _comparison(rows: list[Row]) -> str:
    head = "| shape | way | time, ms | ours is, times as fast | times the floor | memory, MiB | error |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for shape, own in _by(rows, "shape").items():
        best = min((row for row in own if _is_ours(row)), key=lambda row: float(row["p50_ms"]), default=None)
        for row in own:
            fast = "" if best is None or row is best else f"{float(row['p50_ms']) / float(best['p50_ms']):.2f}"
            floor = f"{float(row['p50_ms']) / float(row['floor_ms']):.1f}" if float(row["floor_ms"] or 0) else ""
            spread = f"{_short(row['p50_ms'])} ({_short(row['p20_ms'])} to {_short(row['p80_ms'])})"
            error = "" if row["error"] in ("", "nan") else f"{float(row['error']):.1e}"
            way = f"**{row['way']}**" if row is best else row["way"]
            cells = (shape, way, spread, fast, floor, _short(row["peak_mib"]), error)
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _plain(rows: list[Row]) -> Iterator[str]:
    for machine, own in _grouped(rows, _machine).items():
        for _, alike in _grouped(own, lambda row: row.get("benchmark", "")).items():
            names = [name for name in alike[0] if name not in MACHINE and any(row[name] for row in alike)]
            lines = ["| " + " | ".join(name.replace("_", " ") for name in names) + " |", "|---" * len(names) + "|"]
            lines += ["| " + " | ".join(row[name] for name in names) + " |" for row in alike]
            yield f"**{machine}**"
            yield "\n".join(lines)


def _goals(rows: list[Row], encoder: list[Row]) -> str:
    """What kernels.md and issue 3 ask for, and what the rows say of it."""
    lines = ["| goal | where | what was found |", "|---|---|---|"]
    gpu = [row for row in rows if not _without_gpu(row)]
    for goal, judge in _GOALS:
        verdicts = list(judge(gpu)) or [("", "No GPU was at hand: not measured.")]
        lines += [f"| {goal} | {where} | {verdict} |" for where, verdict in verdicts]
    for row in encoder:
        if row.get("form") == "sink":
            fast, share = float(row["times_faster"]), float(row["peak_ratio"])
            memory = f"{'Met' if share <= 0.7 else 'Missed'}: {share:.0%} of its memory."
            lines.append(f"| {ENCODER_GOAL} | {row['machine']} | {_verdict(fast, 6, 'times as fast')} {memory} |")
    return "\n".join(lines)


def _verdict(found: float, wanted: float, what: str) -> str:
    if found >= wanted:
        return f"Met: {found:.2f} {what}."
    return f"Missed by {1 - found / wanted:.0%}: {found:.2f} {what}, not {wanted:g}."


def _attention_goal(rows: list[Row]) -> Iterator[tuple[str, str]]:
    for where, times in _times(rows, "attention"):
        others = [times[way] for way in ("sdpa-mask", "flex") if way in times]
        if others and "ours" in times:
            yield where, _verdict(min(others) / times["ours"], 1.5, "times as fast")


def _loss_goal(rows: list[Row]) -> Iterator[tuple[str, str]]:
    own = {_where(row): row for row in rows if row["op"] == "loss" and row["way"] == "ours"}
    for where, times in _times(rows, "loss"):
        if where not in own:
            continue
        row, ours = own[where], times["ours"]
        shape = dict(part.split("=") for part in row["shape"].split())
        logits = int(shape["classes"]) * int(shape["side"]) ** 3 * BYTES[row["dtype"]] / 2**20
        parts = [_verdict(times["monai"] / ours, 5, "times as fast as MONAI")] if "monai" in times else []
        compiled = [times[way] for way in ("naive-compiled", "monai-compiled") if way in times]
        parts += [_verdict(min(compiled) / ours, 2, "times as fast as compiled")] if compiled else []
        extra = float(row["peak_mib"]) - logits  # the gradient is the result, not extra
        parts += [
            f"{'Met' if extra < logits else 'Missed'}: {extra:.0f} MiB beyond the gradient, of {logits:.0f} allowed."
        ]
        parts += [_verdict(float(row["floor_ms"]) / ours, 0.7, "of the copy bandwidth")]
        yield where, " ".join(parts)


def _norm_goal(rows: list[Row]) -> Iterator[tuple[str, str]]:
    for where, times in _times(rows, "training"):
        others = [times[way] for way in ("eager", "eager-last", "compiled", "compiled-last") if way in times]
        if others and "fused-last" in times:
            yield where, _verdict(min(others) / times["fused-last"], 1.25, "times as fast")


def _window_goal(rows: list[Row]) -> Iterator[tuple[str, str]]:
    for where, own in _grouped([row for row in rows if row["op"] == "prediction"], _where).items():
        ways = {row["way"]: row for row in own}
        if not {"network", "ours"} <= ways.keys():
            continue
        (network, ours), (least, most) = (
            [float(ways[way][name]) for way in ("network", "ours")] for name in ("p50_ms", "peak_mib")
        )
        memory = f"{'Met' if most - least < 4096 else 'Missed'}: {most - least:,.0f} MiB beyond the network's."
        export = (
            f"{'Met' if ours - network < network else 'Missed'}: export {(ours - network) / network:.0%} of its time."
        )
        yield where, f"{memory} {export}"


_GOALS = (
    ("1. Attention, forward and backward: 1.5 times as fast as the better of SDPA with a mask and FlexAttention",
     _attention_goal),
    ("2. Dice + cross-entropy: 5 times as fast as MONAI, 2 times as fast as compiled, extra memory below the logits, "
     "70 % of copy bandwidth", _loss_goal),
    ("3. STU-Net base and large, channels-last bfloat16, forward and backward: 1.25 times as fast as the best of eager "
     "and compiled in both layouts", _norm_goal),
    ("4. 512 x 512 x 600 at 105 classes: below 4 GB beyond the network, export faster than the network", _window_goal),
)  # fmt: skip


def _times(rows: list[Row], op: str) -> Iterator[tuple[str, dict[str, float]]]:
    for where, own in _grouped([row for row in rows if row["op"] == op], _where).items():
        yield where, {row["way"]: float(row["p50_ms"]) for row in own}


def _is_ours(row: Row) -> bool:
    return row["way"].split("-")[0] in ("ours", "fused")


def _where(row: Row) -> str:
    return f"{row['device']}, {row['shape']}"


def _without_gpu(row: Row) -> bool:
    return row["device"].startswith(NO_GPU)


def _machine(row: Mapping[str, str]) -> str:
    """The machine and the versions of a row, in words."""
    what = row.get("device") or row.get("machine") or row.get("processor") or ""
    if row.get("machine") and what == "cpu":
        what = row["machine"]
    counts = [f"{row[name]} {name}" for name in ("cores", "threads") if row.get(name)]
    words = [what, *(count[:-1] if count.startswith("1 ") else count for count in counts)]
    versions = ("driver", "torch", "triton", "monai", "numpy", "python", "omlab_kernels")
    words += [f"{name.replace('_', '-')} {row[name]}" for name in versions if row.get(name)]
    words += [f"copy {row['copy_gbs']} GB/s"] if row.get("copy_gbs") else []
    words += [f"products {row['tflops']} TFLOP/s"] if row.get("tflops") else []
    return ", ".join([*words, row["date"]])


def _by(rows: Iterable[Row], name: str) -> dict[str, list[Row]]:
    return _grouped(rows, lambda row: row[name])


def _grouped(rows: Iterable[Row], key: Callable[[Row], str]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def _short(number: str) -> str:
    value = float(number)
    if not math.isfinite(value):
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _slug(words: str) -> str:
    return "-".join("".join(letter if letter.isalnum() else " " for letter in words.lower()).split())

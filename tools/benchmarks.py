"""The page of benchmarks, made from the packages' `benchmarks/*.csv` when the site is built.

A CSV with the columns `op, way, shape` has alternatives to compare: a table with ratios and a plot for each operator.
Any other is shown as it is. Rows are compared within one run alone: its id and every setting agree. Of runs of the same
thing on the same machine, with as many threads, the last one counts.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tools.workspace import ROOT

if TYPE_CHECKING:  # nox reads this module in an environment without them
    from matplotlib.axes import Axes

    from omlab_report.themes import Theme

Row = dict[str, str]
Key = TypeVar("Key", bound=Hashable)

NO_GPU = "no GPU"
TITLES = {
    "attention": "Attention with a relative position",
    "loss": "Dice + cross-entropy",
    "loss-nnunet": "Dice + cross-entropy in nnU-Net's form",
    "norm": "Instance norm + LeakyReLU",
    "fusion": "Volume Fusion",
    "window": "Scores to labels on another grid",
    "forward": "STU-Net, inference",
    "training": "STU-Net, forward and backward",
    "prediction": "STU-Net, from an image to its labels",
}
MACHINE = (
    "device", "machine", "processor", "cores", "threads", "driver",
    "python", "torch", "triton", "monai", "omlab_kernels", "numpy", "date", "run",
)  # fmt: skip
SETTINGS = (*MACHINE, "dtype", "copy_gbs", "tflops")
"""What rows must agree in for a ratio of them to mean something."""
BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
NOT_YET = "not measured yet"
HOW = """The figures of every package's `benchmarks/` folder, each way beside the others of one run: rows of two runs,
of other threads, another type, card or version are never divided by each other. `nox -s bench` measures on the machine
at hand (on a GPU where there is one) and appends rows to the CSV files; this page is made from them.

Times are p50, and p20 to p80. Those of a GPU are the device's own; *as a graph* is the p50 where the run is replayed
as a CUDA graph, without what the host adds, if it can be. *Ours is* says how many times as fast ours is, by the p50
and, in brackets, from the least to the most that p20 and p80 of both allow: where 1 lies between them, the run does not
say which is faster. The *floor* is what the machine could do at best: the bytes that must move at its copy bandwidth,
or the operations at its rate of matrix products, both measured in the same run. Memory is the highest beyond the
inputs. The error is against float64, in terms of the largest value; of labels it is the share that differs. Where a
LeakyReLU's argument is zero up to rounding its slope may be either one: one such voxel of millions shows as an error
of 0.01 of the gradients."""
GOALS = """What the fact sheet of the kernels asks of a GPU, card by card; rows of a CPU answer none of it."""
ENCODER_GOAL = "SAM-Med3D's encoder at 128^3 on a CPU, 6 times as fast as padded with at most 70 % of its memory"


_FIGURES = ("p20_", "cpu_")
"""How the first column of what was measured begins."""


def scripts(folder: Path) -> list[Path]:
    """The benchmarks among the Python files of `folder`; the others help them and are not run."""
    return [path for path in sorted(folder.glob("*.py")) if '\nif __name__ == "__main__":' in path.read_text("utf-8")]


def read_rows(root: Path = ROOT) -> dict[str, list[Row]]:
    """The rows of the last run of each thing that was measured, by package: core and `packages/*` first."""
    found: dict[str, list[Row]] = {}
    for pattern in ("core/benchmarks/*.csv", "packages/*/benchmarks/*.csv", "contrib/*/benchmarks/*.csv"):
        for path in sorted(root.glob(pattern)):
            with path.open(newline="", encoding="utf-8") as file:
                rows = csv.DictReader(file)
                if any(name.startswith(_FIGURES) for name in rows.fieldnames or ()):  # else it is a study without times
                    found.setdefault(path.parts[-3], []).extend(_latest(rows))
    return found


def _latest(rows: Iterable[Row]) -> list[Row]:
    """Of each thing (all ways of a shape, with its type, machine and threads) the rows of the last run."""
    groups: dict[tuple[str, ...], dict[tuple[str, ...], Row]] = {}
    runs: dict[tuple[str, ...], tuple[str, ...]] = {}
    for row in rows:
        names = list(row)
        figures = next(place for place, name in enumerate(names) if name.startswith(_FIGURES))
        measured = [name for name in names[:figures] if name not in ("date", "way", "form")]
        thing = tuple(row.get(name, "") for name in (*measured, "device", "machine", "processor", "threads"))
        if runs.get(thing) != _settings(row):
            groups.pop(thing, None)  # a later run also takes a later place
            runs[thing] = _settings(row)
        groups.setdefault(thing, {})[row.get("way", ""), row.get("form", "")] = row
    return [row for ways in groups.values() for row in ways.values()]


def _settings(row: Row) -> tuple[str, ...]:
    return tuple(row.get(name, "") for name in SETTINGS)


def page(root: Path = ROOT) -> str:
    """The page in Markdown."""
    found = read_rows(root)
    compared = [row for rows in found.values() for row in rows if "op" in row]
    parts = ["# Benchmarks", HOW, "## Goals", GOALS, *_goals(compared), *_encoder(found.get("omlab-sammed3d", []))]
    for op, rows in _by(compared, "op").items():
        parts.append(f"## {TITLES.get(op, op)}")
        if all(_without_gpu(row) for row in rows):
            parts.append("No GPU was at hand: these rows are of a CPU, without the forms that are made for a GPU.")
        for own in _grouped(rows, _settings).values():
            picture = _picture(op, own[0])
            alternative = f"{TITLES.get(op, op)}, {own[0]['device']}, {_threads(own[0])}: time of each way"
            parts.append(f"**{_machine(own[0])}**")
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
        for own in _grouped(rows, _settings).values():
            for theme in ("light", "dark"):
                yield f"{_picture(op, own[0])}-{theme}.svg", _svg(own, theme)


def _picture(op: str, row: Row) -> str:
    return f"images/benchmarks/{op}-{_slug(' '.join(_settings(row)))}"


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
    graphs = any(row.get("graph_ms") for row in rows)
    names = ["shape", "way", "time, ms", *(["as a graph, ms"] if graphs else []), "ours is, times as fast"]
    names += ["times the floor", "memory, MiB", "error"]
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    for shape, own in _by(rows, "shape").items():
        best = min((row for row in own if _is_ours(row)), key=lambda row: float(row["p50_ms"]), default=None)
        for row in own:
            fast = "" if best is None or row is best else _ratio(row, best)
            floor = f"{float(row['p50_ms']) / float(row['floor_ms']):.1f}" if float(row["floor_ms"] or 0) else ""
            spread = f"{_short(row['p50_ms'])} ({_short(row['p20_ms'])} to {_short(row['p80_ms'])})"
            error = "" if row["error"] in ("", "nan") else f"{float(row['error']):.1e}"
            way = f"**{row['way']}**" if row is best else row["way"]
            graph = [_short(row["graph_ms"]) if row.get("graph_ms") else ""] if graphs else []
            cells = (shape, way, spread, *graph, fast, floor, _short(row["peak_mib"]), error)
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _ratio(row: Row, ours: Row) -> str:
    """How many times as fast ours is, by the p50, and from the least to the most that the spreads allow."""
    p20, p50, p80 = (float(row[name]) for name in ("p20_ms", "p50_ms", "p80_ms"))
    least, most = p20 / float(ours["p80_ms"]), p80 / float(ours["p20_ms"])
    return f"{p50 / float(ours['p50_ms']):.2f} ({least:.2f} to {most:.2f})"


def _plain(rows: list[Row]) -> Iterator[str]:
    for machine, own in _grouped(rows, _machine).items():
        for _, alike in _grouped(own, lambda row: row.get("benchmark", "")).items():
            names = [name for name in alike[0] if name not in MACHINE and any(row[name] for row in alike)]
            lines = ["| " + " | ".join(name.replace("_", " ") for name in names) + " |", "|---" * len(names) + "|"]
            lines += ["| " + " | ".join(row[name] for name in names) + " |" for row in alike]
            yield f"**{machine}**"
            yield "\n".join(lines)


def _goals(rows: list[Row]) -> Iterator[str]:
    """What kernels.md asks for, and what the rows of each card say of it."""
    gpu = [row for row in rows if not _without_gpu(row)]
    if not gpu:
        yield "\n".join(f"- {goal.text}: {NOT_YET}." for goal in _GOALS)
    for card, own in _by(gpu, "device").items():
        lines = ["| goal | shape | what was measured |", "|---|---|---|"]
        for goal in _GOALS:
            verdicts = list(goal.judge(own))
            judged = {part for shape, _ in verdicts for part in shape.split()}
            verdicts += [(shape, NOT_YET) for shape in goal.shapes if shape not in judged]
            lines += [f"| {goal.text} | {shape} | {verdict} |" for shape, verdict in verdicts]
        yield f"**{card}**"
        yield "\n".join(lines)


def _encoder(rows: list[Row]) -> Iterator[str]:
    """The goal of SAM-Med3D's encoder, which is one of a CPU: each machine by its own last run."""
    found = [row for row in rows if row.get("form") == "sink"]
    for row in found:
        fast, share = float(row["times_faster"]), float(row["peak_ratio"])
        memory = f"{'Met' if share <= 0.7 else 'Missed'}: {share:.0%} of its memory."
        spread = f"{row['p50_s']} s ({row['p20_s']} to {row['p80_s']})"
        yield f"{ENCODER_GOAL} ({_machine(row)}): {_verdict(fast, 6, 'times as fast')} {memory} It takes {spread}."
    if not found:
        yield f"{ENCODER_GOAL}: {NOT_YET}."


def _verdict(found: float, wanted: float, what: str) -> str:
    if found >= wanted:
        return f"Met: {found:.2f} {what}."
    return f"Missed by {1 - found / wanted:.0%}: {found:.2f} {what}, not {wanted:g}."


def _attention_goal(rows: list[Row]) -> Iterator[tuple[str, str]]:
    for where, own in _shapes(rows, "attention"):
        ways = {row["way"]: row for row in own}
        if "ours" in ways:
            yield where, _against(ways, ("sdpa-mask", "flex", "flash-widened"), 1.5, "times as fast")


def _against(ways: Mapping[str, Row], rivals: Sequence[str], wanted: float, what: str) -> str:
    """Ours against the best of the rivals, also as graphs, and which of them are missing."""
    there = [ways[way] for way in rivals if way in ways]
    parts = []
    if there:
        parts.append(_verdict(min(map(_p50, there)) / _p50(ways["ours"]), wanted, what))
        if all(row.get("graph_ms") for row in (ways["ours"], *there)):
            graphs = min(float(row["graph_ms"]) for row in there) / float(ways["ours"]["graph_ms"])
            parts.append(f"As graphs {graphs:.2f}.")
    missing = [way for way in rivals if way not in ways]
    parts += [f"{', '.join(missing)}: {NOT_YET}."] if missing else []
    return " ".join(parts)


def _loss_goal(rows: list[Row]) -> Iterator[tuple[str, str]]:
    for where, own in _shapes(rows, "loss"):
        ways = {row["way"]: row for row in own}
        ours = ways.get("ours")
        if ours is None:
            continue
        shape = dict(part.split("=") for part in ours["shape"].split())
        logits = int(shape["classes"]) * int(shape["side"]) ** 3 * BYTES[ours["dtype"]] / 2**20
        extra = float(ours["peak_mib"]) - logits  # the gradient is the result, not extra
        met = "Met" if extra < logits else "Missed"
        parts = [
            _against(ways, ("monai",), 5, "times as fast as MONAI"),
            _against(ways, ("naive-compiled",), 2, "times as fast as compiled"),
            f"{met}: {extra:.0f} MiB beyond the gradient, of {logits:.0f} allowed.",
            _verdict(float(ours["floor_ms"]) / _p50(ours), 0.7, "of the copy bandwidth"),
        ]
        yield where, " ".join(parts)
    for where, own in _shapes(rows, "loss-nnunet"):
        ways = {row["way"]: row for row in own}
        if "ours" in ways:
            compiled = _against(ways, ("nnunet-compiled",), 2, "times as fast as nnU-Net's, compiled")
            eager = (
                f" {_p50(ways['nnunet']) / _p50(ways['ours']):.2f} times as fast as it is." if "nnunet" in ways else ""
            )
            yield where, compiled + eager


def _norm_goal(rows: list[Row]) -> Iterator[tuple[str, str]]:
    for where, times in _times(rows, "training"):
        others = [times[way] for way in ("eager", "eager-last", "compiled", "compiled-last") if way in times]
        if others and "fused-last" in times:
            yield where, _verdict(min(others) / times["fused-last"], 1.25, "times as fast")


def _window_goal(rows: list[Row]) -> Iterator[tuple[str, str]]:
    for where, own in _shapes(rows, "prediction"):
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


@dataclass(frozen=True)
class Goal:
    """A goal, what judges rows of one card by it, and the parts of shapes that it is about."""

    text: str
    judge: Callable[[list[Row]], Iterator[tuple[str, str]]]
    shapes: tuple[str, ...]


_GOALS = (
    Goal(
        "1. Attention, forward and backward: 1.5 times as fast as the best of SDPA with a mask, FlexAttention and "
        "flash SDPA on widened heads",
        _attention_goal,
        ("grid=8", "grid=16", "grid=24"),
    ),
    Goal(
        "2. Dice + cross-entropy: 5 times as fast as MONAI, 2 times as fast as compiled, extra memory below the "
        "logits, 70 % of copy bandwidth",
        _loss_goal,
        ("classes=14", "classes=105"),
    ),
    Goal(
        "3. STU-Net base and large, channels-last bfloat16, forward and backward: 1.25 times as fast as the best of "
        "eager and compiled in both layouts",
        _norm_goal,
        ("size=base", "size=large"),
    ),
    Goal(
        "4. 512 x 512 x 600 at 105 classes: below 4 GB beyond the network, export faster than the network",
        _window_goal,
        ("slices=600",),
    ),
)


def _p50(row: Row) -> float:
    return float(row["p50_ms"])


def _times(rows: list[Row], op: str) -> Iterator[tuple[str, dict[str, float]]]:
    for where, own in _shapes(rows, op):
        yield where, {row["way"]: float(row["p50_ms"]) for row in own}


def _shapes(rows: list[Row], op: str) -> Iterator[tuple[str, list[Row]]]:
    """The ways of each shape in one run."""
    for own in _grouped([row for row in rows if row["op"] == op], lambda row: (row["shape"], *_settings(row))).values():
        yield own[0]["shape"], own


def _is_ours(row: Row) -> bool:
    return row["way"].split("-")[0] in ("ours", "fused")


def _without_gpu(row: Row) -> bool:
    return row["device"].startswith(NO_GPU)


def _machine(row: Mapping[str, str]) -> str:
    """The machine and the versions of a row, in words."""
    what = row.get("device") or row.get("machine") or row.get("processor") or ""
    if row.get("machine") and what == "cpu":
        what = row["machine"]
    words = [what, *([f"{row['cores']} cores"] if row.get("cores") else []), _threads(row), row.get("dtype", "")]
    versions = ("driver", "torch", "triton", "monai", "numpy", "python", "omlab_kernels")
    words += [f"{name.replace('_', '-')} {row[name]}" for name in versions if row.get(name)]
    words += [f"copy {row['copy_gbs']} GB/s"] if row.get("copy_gbs") else []
    words += [f"products {row['tflops']} TFLOP/s"] if row.get("tflops") else []
    words += [row["date"], f"run {row['run']}" if row.get("run") else ""]
    return ", ".join(filter(None, words))


def _threads(row: Mapping[str, str]) -> str:
    count = row.get("threads", "")
    return count and f"{count} thread{'' if count == '1' else 's'}"


def _by(rows: Iterable[Row], name: str) -> dict[str, list[Row]]:
    return _grouped(rows, lambda row: row[name])


def _grouped(rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    groups: dict[Key, list[Row]] = {}
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

"""What a board leaves: `report.html`, `leaderboard.csv`, `seeds.csv`, and files for the hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omlab.roles import Metric
from omlab_benchmark.entries import shots_name
from omlab_benchmark.hub import write_eval_results
from omlab_benchmark.standing import Scores, Standing
from omlab_report import (
    Column,
    Figure,
    Interval,
    KeyFigure,
    KeyFigures,
    Notes,
    Page,
    Section,
    Table,
    csv_text,
    curves_with_intervals,
    read_run,
    run_sections,
    write_page,
    write_text,
)

SHOWN = 2
"""Figures in the tables of the page beside the headline; all are in leaderboard.csv."""
NAMED = 3
"""Entries that the headline names as not told apart from the one at the top."""
TITLES = {"auroc": "AUROC", "ece": "Calibration error", "f1": "F1", "rmse": "RMSE", "mae": "MAE", "dice": "Dice"}
WORDS = """Equal ranks are not told apart: an entry's rank is one more than there are entries that are certainly better,
by the 95 % interval of the difference on the same patients and the same episodes."""
PER_SHOT = "cases of each class to learn from"


def write_board(
    found: Sequence[Standing],
    scores: Scores,
    rows: Sequence[Mapping[str, Any]],
    *,
    headline: str,
    folder: Path,
    subtitle: str,
    notices: Sequence[str] = (),
) -> list[str]:
    """Write all files of the board; gives the notes that say how things were counted.

    `notices` stand above all figures, such as that some weights are untrained.
    """
    notes = _notes(rows, scores)
    write_text(_leaderboard(found, scores), folder / "leaderboard.csv")
    write_text(_seeds(scores), folder / "seeds.csv")
    run = read_run(folder)
    write_eval_results(found, headline=headline, data=subtitle, folder=folder / "eval_results")
    sections = [
        Section("", [KeyFigures(_key_figures(found, headline))], text=WORDS),
        *_curves(found, headline),
        *(_ranks(found, shots, scores, headline) for shots in dict.fromkeys(standing.shots for standing in found)),
        Section("Notes", [Notes(notes)]),
        *run_sections(run),
    ]
    write_page(Page("Few-shot benchmark", sections, subtitle=subtitle, notices=notices), folder / "report.html")
    return notes


def title_of(name: str) -> str:
    """A metric as a reader knows it."""
    return TITLES.get(name, name.replace("_", " ").capitalize())


def _key_figures(found: Sequence[Standing], headline: str) -> list[KeyFigure]:
    figures = []
    for shots in dict.fromkeys(standing.shots for standing in found):
        first, *others = (standing for standing in found if standing.shots == shots)
        figure = first.figures[headline]
        figures.append(
            KeyFigure(
                f"{title_of(headline)}, {shots_name(shots)}",
                figure.value,
                figure.low,
                figure.high,
                note=f"{first.name}: {_place(first, others)}",
            )
        )
    return figures


def _place(first: Standing, others: Sequence[Standing]) -> str:
    """What the table says of the entry at its top: whether it is the best, and if not, which ones may be."""
    if not others:
        return "the only entry"
    if first.is_best:
        return "certainly the best"
    near = [other.name for other in others if other.rank == first.rank]
    if not near:
        return f"rank {first.rank}; not certainly better than every other"
    more = f" and {len(near) - NAMED} more" if len(near) > NAMED else ""
    return f"rank {first.rank}, not told apart from {', '.join(near[:NAMED])}{more}"


def _curves(found: Sequence[Standing], headline: str) -> list[Section]:
    """How each entry gains by more cases; nothing where there is one number of shots."""
    if len({standing.shots for standing in found}) < 2:
        return []
    lines: dict[str, list[tuple[str, Metric]]] = {}
    for standing in found:
        place = "all" if standing.shots == 0 else str(standing.shots)
        lines.setdefault(standing.name, []).append((place, standing.figures[headline]))
    better = "higher" if found[0].figures[headline].higher_is_better else "lower"
    figure = Figure(
        curves_with_intervals(lines, across=PER_SHOT, up=title_of(headline)),
        alt=f"{title_of(headline)} of every entry by shots, with 95 % intervals; the figures are in the tables.",
        caption=f"How each entry gains by more cases; {better} is better. Bars are 95 % intervals over patients and "
        "episodes: entries whose bars overlap may still differ, and the ranks below say which do.",
    )
    return [Section("Learning curves", [figure])]


def _ranks(found: Sequence[Standing], shots: int, scores: Scores, headline: str) -> Section:
    others = [measure for measure in scores.measures if measure.name != headline][:SHOWN]
    columns = [
        Column("Rank", numeric=True),
        Column("Model"),
        Column("Adapter"),
        Column(title_of(headline), numeric=True, help="mean over seeds, with its 95 % interval"),
        *(Column(title_of(measure.name), numeric=True) for measure in others),
        Column("Seeds", numeric=True),
        Column("", help="certainly better than every other entry"),
    ]
    those = [standing for standing in found if standing.shots == shots]
    rows = [
        [
            standing.rank,
            standing.model,
            standing.adapter,
            _interval(standing.figures[headline]),
            *(standing.figures[measure.name].value for measure in others),
            len(standing.by_seed),
            "best" if standing.is_best else "",
        ]
        for standing in those
    ]
    words = "The whole training split" if shots == 0 else f"{shots} case{'s' * (shots != 1)} of each class"
    return Section(shots_name(shots).capitalize(), [Table(columns, rows, caption=words)])


def _interval(metric: Metric) -> Interval:
    return Interval(metric.value, metric.low, metric.high)


def _notes(rows: Sequence[Mapping[str, Any]], scores: Scores) -> list[str]:
    notes = [
        "Intervals: patients of the measured split and seeds of the episodes are drawn again and again, with "
        "replacement; every entry by the same draws."
    ]
    if len({seed for seeds in scores.seeds.values() for seed in seeds}) < 2:
        notes.append("There is one seed: the intervals say nothing of how much the drawn cases matter.")
    for row in rows:
        name = f"{row['model']} + {row['adapter']}, {shots_name(row['shots'])}, seed {row['seed']}"
        if row["reason"]:
            notes.append(f"{name} has no result: {row['reason']}")
        elif row["failed"]:
            notes.append(f"{name} has no answer to {row['failed']} cases, such as {row['why']}")
    return notes


def _leaderboard(found: Sequence[Standing], scores: Scores) -> str:
    names = [measure.name for measure in scores.measures]
    header = ["shots", "rank", "is_best", "model", "adapter", "seeds", "cases"]
    header += [part for name in names for part in (name, f"{name}_low", f"{name}_high")]
    lines = []
    for standing in found:
        figures = [standing.figures[name] for name in names]
        shots = "all" if standing.shots == 0 else standing.shots
        lines.append(
            [shots, standing.rank, standing.is_best, standing.model, standing.adapter, len(standing.by_seed),
             standing.cases, *(part for figure in figures for part in (figure.value, figure.low, figure.high))]
        )  # fmt: skip
    return csv_text(header, lines)


def _seeds(scores: Scores) -> str:
    names = [measure.name for measure in scores.measures]
    lines = [
        ["all" if shots == 0 else shots, model, adapter, seed, *(_defined(value) for value in values)]
        for (model, adapter, shots), of_seeds in scores.whole.items()
        for seed, values in zip(scores.seeds[model, adapter, shots], of_seeds.tolist(), strict=True)
    ]
    return csv_text(["shots", "model", "adapter", "seed", *names], lines)


def _defined(value: float) -> float | None:
    return value if value == value else None

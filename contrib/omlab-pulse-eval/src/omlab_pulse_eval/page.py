"""What `omlab pulse-eval` writes: the leaderboard page, and its tables as CSV."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from omlab.roles import Metric
from omlab_pulse_eval.board import Board
from omlab_pulse_eval.figures import Row
from omlab_report import (
    Column,
    Facts,
    Figure,
    Interval,
    KeyFigure,
    KeyFigures,
    Notes,
    Page,
    Section,
    Table,
    csv_text,
    dot_intervals,
    heat_map,
    read_run,
    run_sections,
    write_page,
    write_text,
)

BOARD_COLUMNS = ("rank", "model", "online", "median", "low", "high", "bradley_terry", "win_share", "battles")

_NAMED = 3
"""Models that the headline names as not told apart from the leading one."""


def write_board(board: Board, *, folder: Path) -> None:
    """Write `report.html`, `leaderboard.csv` and `win_shares.csv` into `folder`."""
    sections = [_summary(board)]
    if board.whole is not None:
        sections += [_leaderboard(board, board.whole), _shares(board.whole), _bias(board)]
    if board.average_rank is not None:
        sections.append(_average(board, board.average_rank))
    sections += [_triage(name, row) for name, row in board.sets.items() if row["kind"] == "triage"]
    tournaments = {name: row for name, row in board.sets.items() if row["kind"] == "tournament"}
    if len(tournaments) > 1:
        sections += [Section(name, [_ratings_table(row["models"])]) for name, row in tournaments.items()]
    sections.append(Section("Notes", [Notes(board.notes)]))
    sections += run_sections(read_run(folder))
    write_text(_leaderboard_csv(board), folder / "leaderboard.csv")
    if board.whole is not None:
        write_text(_shares_csv(board.whole), folder / "win_shares.csv")
    subtitle = f"{_count(len(board.models), 'model')}, {_count(len(board.sets), 'set')}: {', '.join(board.sets)}"
    write_page(Page("Chat models judged in pairs", sections, subtitle=subtitle), folder / "report.html")


def _summary(board: Board) -> Section:
    figures = [_leader(board)]
    if board.whole is not None:
        row = board.whole
        seat = row["first_seat"]
        figures += [
            KeyFigure("Battles", row["battles"], note=f"{row['outcomes']['tie']} ties"),
            KeyFigure("Unread replies", row["outcomes"]["unparsed"], note="counted as ties"),
            KeyFigure(
                "First seat wins", seat["share"], seat["low"], seat["high"], note=f"of {seat['count']} decided battles"
            ),
        ]
    return Section("", [KeyFigures(figures)])


def _leader(board: Board) -> KeyFigure:
    """Who leads the table that ranks, and by what; called the first only where no interval of another reaches its."""
    leader, *others = board.models
    among = f"of {_count(len(board.models), 'model')}"
    if board.average_rank is not None:
        return KeyFigure("Best average rank", leader, note=f"{among}; average ranks have no intervals")
    if board.whole is None:
        return KeyFigure("Highest F1", leader, note=f"{among}; without an interval")
    low = board.models[leader]["low"]
    near = [name for name in others if low is None or board.models[name]["high"] >= low]
    if not near:
        return KeyFigure("First", leader, note=f"{among}; its interval lies above all others")
    named = ", ".join(near[:_NAMED]) + (f" and {len(near) - _NAMED} more" if len(near) > _NAMED else "")
    why = "there are no intervals" if low is None else f"its interval reaches {named}"
    return KeyFigure("Highest rating", leader, note=f"{among}; not certainly the first: {why}")


def _leaderboard(board: Board, whole: Row) -> Section:
    models = whole["models"]
    has_spread = any(figures["median"] is not None for figures in models.values())
    metrics = [
        Metric(
            name="Rating", label=model, value=figures["online"] if figures["median"] is None else figures["median"],
            low=figures["low"], high=figures["high"], n=figures["battles"],
        )
        for model, figures in models.items()
    ]  # fmt: skip
    figure = Figure(
        dot_intervals(metrics, fit=True),
        alt="Rating of each model with its 95 % interval; the figures are in the table above.",
        caption="Dots are medians of the bootstrap, lines reach from the 2.5th to the 97.5th percentile; further right "
        "is better, and models whose lines overlap widely are not told apart."
        if has_spread
        else "Online ratings, without intervals; further right is better.",
    )
    text = (
        "Ratings are Elo points. The rating is the median of online ratings over resampled battles; Bradley-Terry is "
        "the estimate in which the order of battles plays no part. Two models whose intervals overlap widely are not "
        "told apart by these battles."
    )
    title = "Ratings" if len(board.sets) == 1 else "Ratings over all battles"
    return Section(title, [_ratings_table(models), figure], text=text)


def _ratings_table(models: Mapping[str, Row]) -> Table:
    columns = [
        Column("Model"),
        Column("Rank", numeric=True, digits=1, help="by rating; equal ratings share the mean of their ranks"),
        Column("Rating", numeric=True, digits=1, help="median of the bootstrap with its 95 % interval"),
        Column("Bradley-Terry", numeric=True, digits=1),
        Column("Online", numeric=True, digits=1, help="after the last battle, in the order of the log"),
        Column("Win share", numeric=True, digits=3, help="mean over opponents of decided battles won"),
        Column("Battles", numeric=True),
    ]
    rows = [
        [
            model, _rank(figures["rank"]), Interval(figures["median"], figures["low"], figures["high"]),
            figures["bradley_terry"], figures["online"], figures["win_share"], figures["battles"],
        ]
        for model, figures in models.items()
    ]  # fmt: skip
    return Table(columns, rows)


def _shares(whole: Row) -> Section:
    names = list(whole["models"])
    shares = whole["win_shares"]
    values = [[_percent(shares[a].get(b)) for b in names] for a in names]
    figure = Figure(
        heat_map(values, rows=names, columns=names, digits=0),
        alt="Share of decided battles that the row won against the column; the figures are in win_shares.csv.",
        caption="Per cent of decided battles won by the row against the column; a dash: none was decided.",
    )
    return Section("Win shares", [figure])


def _bias(board: Board) -> Section:
    columns = [
        Column("Set"),
        Column("First seat", numeric=True, help="share of decided battles, with the 95 % interval"),
        Column("Decided", numeric=True),
        Column("Longer answer", numeric=True, help="share of decided battles with answers of different length"),
        Column("Seatings agree", numeric=True, help="same verdict with the seats exchanged"),
        Column("Unread", numeric=True, help="replies that the strict rule cannot read"),
        Column("Lenient", numeric=True, help="replies that the lenient rule cannot read"),
    ]
    rows = []
    for name, row in board.sets.items():
        if row["kind"] != "tournament":
            continue
        judging = row.get("judging", {})
        rows.append([
            name, _share(row["first_seat"]), row["first_seat"]["count"], _share(row.get("longer_answer")),
            _share(row.get("seatings_agree")), judging.get("unparsed_strict", row["outcomes"]["unparsed"]),
            judging.get("unparsed_lenient"),
        ])  # fmt: skip
    text = (
        "A fair judge gives the first seat half of the decided battles. That longer answers win may be a bias or a "
        "merit; a share far from one half calls for a look. A dash: not known from the files given."
    )
    facts = {
        f"Judge of {name}": "{judge}, form {form}, {parse} reading".format_map(row["judging"])
        for name, row in board.sets.items()
        if "judging" in row
    }
    return Section("Bias of the judge", [Table(columns, rows), *([Facts(facts)] if facts else [])], text=text)


def _average(board: Board, average: Row) -> Section:
    rule = average["rule"]
    others = [name for name in ("shared", "shared-rounded", "position") if name != rule]
    columns = [
        Column("Model"),
        Column("Average rank", numeric=True, digits=3, help=f"rule: {rule}"),
        *(Column(f"By {name}", numeric=True, digits=3) for name in others),
    ]
    ranks = sorted(average[rule].items(), key=lambda pair: pair[1])
    rows = [[model, rank, *(average[name][model] for name in others)] for model, rank in ranks]
    text = (
        f"Mean of the ranks in {', '.join(average['columns'])}. Shared: equal scores share the mean of their ranks; "
        "shared-rounded: after rounding as in print; position: as published, of equals the earlier row gets the worse."
    )
    return Section("Average rank", [Table(columns, rows)], text=text)


def _triage(name: str, row: Row) -> Section:
    titles = (
        ("f1", "F1"), ("precision", "Precision"), ("recall", "Recall"), ("accuracy", "Exact"),
        ("mended_f1", "Mended F1"),
        ("coverage", "Coverage"), ("pieces_per_answer", "Pieces per answer"),
    )  # fmt: skip
    columns: list[Column] = [
        Column("Model"),
        Column("Rank", numeric=True, digits=1),
        *(Column(title, numeric=True) for _, title in titles),
    ]
    rows = [
        [model, _rank(figures["rank"]), *(figures[key] for key, _ in titles)]
        for model, figures in row["models"].items()
    ]
    text = (
        "F1 as published is micro-averaged over pieces parted by '|'. The mended F1 reads other separators too and "
        "counts hits among the first few distinct departments only. Coverage: answers with a right department."
    )
    title = "Triage" if name == "triage" else f"Triage: {name}"
    return Section(title, [Table(columns, rows)], text=text)


def _leaderboard_csv(board: Board) -> str:
    rows = [
        [name, model, *(figures.get(key) for key in BOARD_COLUMNS if key != "model")]
        for name, row in {
            **board.sets,
            **({"all sets": board.whole} if len(board.sets) > 1 and board.whole else {}),
        }.items()
        if row["kind"] == "tournament"
        for model, figures in row["models"].items()
    ]
    header = ["set", "model", *(key for key in BOARD_COLUMNS if key != "model")]
    return csv_text(header, rows)


def _shares_csv(whole: Row) -> str:
    names = list(whole["models"])
    rows = [[a, *(whole["win_shares"][a].get(b) for b in names)] for a in names]
    return csv_text(["model", *names], rows)


def _rank(rank: float) -> float | int:
    return int(rank) if rank == int(rank) else rank


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _share(row: Row | None) -> Interval | None:
    return None if row is None else Interval(row["share"], row["low"], row["high"])


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"

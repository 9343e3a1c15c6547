"""`omlab search` and `omlab outliers`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omlab.cli import options

if TYPE_CHECKING:
    from rich.table import Table

    from omlab.jobs.outcome import Outcome
    from omlab_retrieval.jobs import Queries
    from omlab_retrieval.tables import Row

SHOWN = 20
"""Queries, or outliers, that the terminal shows; the tables have all."""
NEAREST = 3
"""Neighbours that it shows of each of several queries."""

_INPUTS = "[INPUT|NAME=PATH|NAME:=VALUE]..."


def _common(command: Callable[..., Any]) -> Callable[..., Any]:
    """The arguments and options of both commands."""
    for decorate in reversed(
        (
            click.argument("features", metavar="FEATURES", shell_complete=options.paths),
            click.argument("inputs", metavar=_INPUTS, nargs=-1, shell_complete=options.paths),
            options.output("A folder"),
            options.data,
            click.option("--split", metavar="NAME", help="Split of the data set (default: test; of own files all)."),
            options.root,
            options.mapped,
            options.settings,
            click.option("--model", metavar="MODEL", help="The model that made FEATURES, where it has moved."),
            options.weights,
            options.needs,
            options.batch,
            options.device,
            options.offline,
            options.as_json,
        )
    ):
        command = decorate(command)
    return command


@click.command("search", no_args_is_help=True)
@click.option("-k", "k", metavar="K", type=click.IntRange(min=1), default=10, show_default=True, help="Neighbours.")
@_common
def search(*, features: str, k: int, as_json: bool, **more: Any) -> None:
    """Find the known cases that are most like others.

    FEATURES is what omlab embed made of the known ones; INPUT is embedded by the same model. OUT gets neighbours.csv
    and report.html, a page of pictures.
    """
    from omlab.cli.console import working
    from omlab_retrieval.jobs import find_like
    from omlab_retrieval.tables import NEIGHBOUR_COLUMNS, NEIGHBOURS, read_rows

    with working():
        outcome = find_like(features, **_given(k=k, **more))
        rows = read_rows(outcome.place / NEIGHBOURS, columns=NEIGHBOUR_COLUMNS) if outcome.is_whole else []
    _end(outcome, rows, _neighbours, as_json=as_json)


@click.command("outliers", no_args_is_help=True)
@click.option(
    "-k", "k", metavar="K", type=click.IntRange(min=1), default=10, show_default=True, help="The neighbour measured."
)
@_common
def outliers(*, features: str, k: int, as_json: bool, **more: Any) -> None:
    """Find the cases that are unlike the known ones.

    FEATURES is what omlab embed made of the known ones; INPUT is embedded by the same model. Without INPUT the known
    ones are scored themselves. OUT gets outliers.csv and report.html, the most foreign first.
    """
    from omlab.cli.console import working
    from omlab_retrieval.jobs import find_outliers
    from omlab_retrieval.tables import OUTLIER_COLUMNS, OUTLIERS, read_rows

    with working():
        outcome = find_outliers(features, **_given(k=k, **more))
        rows = read_rows(outcome.place / OUTLIERS, columns=OUTLIER_COLUMNS) if outcome.is_whole else []
    _end(outcome, rows, _outliers, as_json=as_json)


def _given(*, needs: Sequence[str], offline: bool, **more: Any) -> dict[str, Any]:
    """The options as the functions take them."""
    queries = _queries(**{name: more.pop(name) for name in ("inputs", "data", "split", "root", "mapped", "settings")})
    return {"queries": queries, "needs": options.pairs(needs), "offline": offline or None, **more}


def _queries(
    *,
    inputs: Sequence[str],
    data: str | None,
    split: str | None,
    root: Path | None,
    mapped: Sequence[str],
    settings: Sequence[str],
) -> Queries:
    from omlab.settings import by_home
    from omlab_retrieval.jobs import Queries

    paths, named, values = options.inputs_of(inputs)
    return Queries(
        paths=paths,
        named=named,
        values=values,
        data=data,
        split=split,
        root=root,
        mapped=options.pairs(mapped),
        settings=by_home(options.pairs(settings), {"data": None}, plain=())["data"],
    )


def _end(outcome: Outcome, rows: Sequence[Row], table: Callable[[Sequence[Row]], Table], *, as_json: bool) -> None:
    """Show what was found and where it is; the exit status is 1 where some cases failed."""
    from rich.markup import escape

    from omlab.cli.console import stdout_console
    from omlab.cli.results import conclude

    if as_json:
        failed = {record.id: record.reason for record in outcome.failed}
        click.echo(json.dumps({"place": str(outcome.place), "rows": [*rows], "failed": failed}, indent=2))
        raise click.exceptions.Exit(outcome.exit_status)
    if rows:
        stdout_console().print(table(rows))
    conclude(outcome)
    if not outcome.log:  # nothing was embedded, so that the outcome has no case to tell of
        stdout_console().print(escape(str(outcome.place)), soft_wrap=True)


def _neighbours(rows: Sequence[Row]) -> Table:
    from omlab_retrieval.tables import NEIGHBOURS, grouped

    by_query = grouped(rows, by="query")
    several = len(by_query) > 1
    table = _table(["query"] * several + ["rank", "neighbour", "similarity", "file"], right=("rank", "similarity"))
    for query, found in list(by_query.items())[:SHOWN]:
        for row in found[:NEAREST] if several else found:
            same = " (the same)" if row["same_file"] else ""
            cells = [str(row["rank"]), row["neighbour"], f"{row['similarity']:.4f}", f"{_short(row['file'])}{same}"]
            _add(table, [query if row["rank"] == 1 else ""] * several + cells)
    if several:
        table.caption = f"All {len(rows)} neighbours of {len(by_query)} queries are in {NEIGHBOURS}."
    return table


def _outliers(rows: Sequence[Row]) -> Table:
    from omlab_retrieval.tables import OUTLIERS

    titles = ["rank", "case", "neighbours", "above", "Mahalanobis", "above", "nearest"]
    table = _table(titles, right=("rank", "neighbours", "Mahalanobis"))
    for row in rows[:SHOWN]:
        cells = [str(row["rank"]), row["case"], f"{row['knn_distance']:.4f}", _above(row, "knn_above")]
        cells += ["-" if row["mahalanobis"] is None else f"{row['mahalanobis']:.2f}", _above(row, "mahalanobis_above")]
        _add(table, [*cells, row["nearest"]])
    if len(rows) > SHOWN:
        table.caption = f"All {len(rows)} cases are in {OUTLIERS}."
    return table


def _above(row: Mapping[str, Any], name: str) -> str:
    return f"{row[name]} %" if row[name] else ""


def _short(file: str) -> str:
    """A path as the user would type it here."""
    try:
        return str(Path(file).relative_to(Path.cwd())) if file else ""
    except ValueError:
        return file


def _table(titles: Sequence[str], *, right: Iterable[str]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", caption_justify="left")
    for title in titles:
        table.add_column(title, justify="right" if title in right else "left", overflow="fold")
    return table


def _add(table: Table, cells: Sequence[str]) -> None:
    from rich.markup import escape

    table.add_row(*map(escape, cells))

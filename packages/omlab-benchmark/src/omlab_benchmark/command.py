"""The commands `omlab benchmark` and `omlab claims`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from omlab.cli import options
from omlab.errors import UsageError


@click.command(no_args_is_help=True)
@click.option(
    "--data", metavar="NAME[:PATH]", required=True, help="A data set, or own files: imagefolder:FOLDER, cases:list.csv."
)
@click.option("--model", "models", metavar="NAME", multiple=True, required=True, help="A model; several times.")
@click.option("--adapter", "adapters", metavar="NAME", multiple=True, required=True, help="An adapter; several times.")
@click.option(
    "--shots", metavar="N,N,...", default="1,5,10", show_default=True, help="Cases of each class; all: every case."
)
@click.option("--seeds", metavar="N", type=int, default=5, show_default=True, help="How often episodes are drawn.")
@click.option("--recipe", metavar="NAME", help="For adapters that train (default: the only one that fits the data).")
@click.option("--split", metavar="NAME", default="test", show_default=True, help="Split that is measured.")
@click.option("--evaluator", metavar="NAME", help="Default: the one for the task of the data.")
@click.option("--metric", metavar="NAME", help="What the ranks go by (default: the evaluator's headline).")
@click.option("--rounds", metavar="N", type=int, default=1000, show_default=True, help="Draws for the intervals.")
@options.output("Folder of the board")
@options.root
@options.mapped
@options.settings
@options.device
@options.offline
def benchmark(*, shots: str, settings: tuple[str, ...], mapped: tuple[str, ...], offline: bool, **more: Any) -> None:
    """Compare models and adapters that learn from a few cases of each class; leaves a leaderboard.

    Features of a model are computed once. Started again, it does what is missing.
    """
    from omlab.cli.console import working
    from omlab.cli.results import conclude
    from omlab_benchmark.board import benchmark as run

    with working():
        outcome = run(
            shots=_numbers(shots),
            settings=options.pairs(settings),
            mapped=options.pairs(mapped),
            offline=offline or None,
            **more,
        )
    if outcome.report is not None:
        _show(outcome.report.details)
    conclude(outcome)


@click.command(no_args_is_help=True)
@click.argument("model", metavar="MODEL", shell_complete=options.model_names)
@click.option("--data", metavar="NAME[:PATH]", required=True, help="The data set that the figures were measured on.")
@click.option("--split", metavar="NAME", default="test", show_default=True, help="Split of the data set.")
@options.output("Folder of the evaluations")
@options.root
@options.mapped
@options.device
@options.offline
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def claims(
    model: str, data: str, *, output: str | None, mapped: tuple[str, ...], offline: bool, as_json: bool, **more: Any
) -> None:
    """Repeat the figures that were published of a model, and say which hold.

    Exit status 1 where one does not.
    """
    import json

    from omlab.cli.console import stdout_console, working
    from omlab_benchmark.claims import check_claims

    place = Path(output) if output else Path("omlab-runs") / f"claims-{model}"
    with working():
        found = check_claims(model, data, output=place, mapped=options.pairs(mapped), offline=offline or None, **more)
    if as_json:
        click.echo(json.dumps([checked.to_json() for checked in found], indent=2))
    else:
        for checked in found:
            claim = checked.claim
            of = f" of {claim.label}" if claim.label else ""
            measured = "not defined" if checked.measured is None else f"{checked.measured:.4f}"
            words = "holds" if checked.holds else "does not hold"
            stdout_console().print(
                f"{claim.metric}{of}: published {claim.value:g} (within {claim.tolerance:g}), here {measured}: "
                f"{words}. {claim.source}",
                soft_wrap=True,
                markup=False,
                highlight=False,
            )
    if not all(checked.holds for checked in found):
        raise click.exceptions.Exit(1)


def _numbers(text: str) -> list[int]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    try:
        return [0 if word == "all" else int(word) for word in words]
    except ValueError:
        raise UsageError(f"--shots is '{text}', but must be numbers such as 1,5,10, or all.") from None


def _show(details: Any) -> None:
    """The leaderboard, as a table for each number of shots."""
    from rich.table import Table

    from omlab.cli.console import stdout_console
    from omlab_benchmark.entries import shots_name

    metric = details["metric"]["name"]
    for shots in dict.fromkeys(row["shots"] for row in details["standings"]):
        table = Table(title=shots_name(shots), title_justify="left", box=None)
        for name in ("rank", "model", "adapter", metric, ""):
            table.add_column(name)
        for row in details["standings"]:
            if row["shots"] == shots:
                figure = row["figures"][metric]
                interval = f" [{figure['low']:.3f}, {figure['high']:.3f}]" if figure["low"] is not None else ""
                value = "not defined" if figure["value"] is None else f"{figure['value']:.3f}{interval}"
                best = "best" if row["is_best"] else ""
                table.add_row(str(row["rank"]), row["model"], row["adapter"], value, best)
        stdout_console().print(table)

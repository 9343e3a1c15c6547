"""The command evaluate."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from omlab.cli import options
from omlab.cli.group import LazyGroup


class _Evaluate(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, but a benchmark that has a command, and so options, of its own is told from a model."""
        app = ctx.find_root().command
        is_command = args and isinstance(app, LazyGroup) and args[0] in app.list_commands(ctx)
        if is_command and not ctx.resilient_parsing and not _is_model(args[0]):
            ctx.fail(f"'{args[0]}' is no model but a command of its own: {shlex.join(['omlab', *args])}")
        return super().parse_args(ctx, args)


@click.command(cls=_Evaluate, no_args_is_help=True)
@click.argument("model", metavar="[MODEL]", required=False, shell_complete=options.model_names)
@click.option(
    "--data", metavar="NAME[:PATH]", required=True, help="A data set, or own files: cases:list.csv, nnunet:FOLDER."
)
@click.option(
    "--predictions",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Judge the results of a run, a file of many, or files named by their cases.",
)
@click.option("--evaluator", metavar="NAME", help="Default: the one for the task of the data.")
@click.option("--verb", metavar="NAME", help="Default: the one that gives what the evaluator judges.")
@click.option("--split", metavar="NAME", default="test", show_default=True, help="Split of the data set.")
@options.output("Folder of the report")
@options.root
@options.mapped
@options.settings
@options.weights
@options.needs
@options.batch
@options.device
@options.offline
def evaluate(
    model: str | None,
    settings: tuple[str, ...],
    needs: tuple[str, ...],
    mapped: tuple[str, ...],
    offline: bool,
    **more: Any,
) -> None:
    """Judge a model, or results made before, on data with targets; leaves a report page."""
    from omlab.cli.console import working
    from omlab.cli.results import conclude, show_report
    from omlab.jobs.evaluate import evaluate as run

    with working():
        outcome = run(
            model,
            settings=options.pairs(settings),
            needs=options.pairs(needs),
            mapped=options.pairs(mapped),
            offline=offline or None,
            **more,
        )
    if outcome.report is not None:
        show_report(outcome.report)
    conclude(outcome)


def _is_model(name: str) -> bool:
    from omlab.errors import UnknownNameError
    from omlab.models import find_card

    try:
        find_card(name)
    except UnknownNameError:
        return False
    return True

"""The command adapt."""

from __future__ import annotations

from typing import Any

import click

from omlab.cli import options


@click.command(no_args_is_help=True)
@click.argument("model", metavar="MODEL", shell_complete=options.model_names)
@click.option(
    "--data", metavar="NAME[:PATH]", required=True, help="A data set, or own files: cases:list.csv, nnunet:FOLDER."
)
@click.option("--recipe", metavar="NAME", help="What is minimised (default: the only one that the model has).")
@click.option("--adapter", metavar="NAME", default="finetune", show_default=True, help="Which weights move, and how.")
@options.output("Folder of the adapted model")
@options.root
@options.mapped
@options.settings
@click.option("--seed", metavar="N", type=int, default=0, show_default=True, help="Seed of everything random.")
@options.weights
@options.needs
@options.device
@options.offline
def adapt(
    model: str,
    data: str,
    settings: tuple[str, ...],
    needs: tuple[str, ...],
    mapped: tuple[str, ...],
    offline: bool,
    **more: Any,
) -> None:
    """Adapt a model to a data set; the result is a folder that stands where a model's name does."""
    from omlab.cli.console import working
    from omlab.cli.results import conclude, show_last_epoch
    from omlab.jobs.adapt import adapt as run
    from omlab.shards import rank

    with working():
        outcome = run(
            model,
            data,
            settings=options.pairs(settings),
            needs=options.pairs(needs),
            mapped=options.pairs(mapped),
            offline=offline or None,
            **more,
        )
    if rank() == 0:
        show_last_epoch(outcome)
        conclude(outcome)

"""The command merge."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(no_args_is_help=True)
@click.argument("place", metavar="OUT", type=click.Path(path_type=Path))
def merge(place: Path) -> None:
    """End a sharded run (OMLAB_SHARD=i/n) whose shards will not all come to their end, with the cases that are done."""
    from omlab.cli.console import working
    from omlab.cli.results import conclude
    from omlab.jobs.merge import merge as run

    with working():
        outcome = run(place)
    conclude(outcome)

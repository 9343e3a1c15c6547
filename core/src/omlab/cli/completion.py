"""The command completion."""

from __future__ import annotations

import click


@click.command(no_args_is_help=True)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script that completes commands; put it where your shell reads such scripts."""
    from click.shell_completion import get_completion_class

    from omlab.cli.app import build

    found = get_completion_class(shell)
    assert found is not None  # click knows those that the choice names
    click.echo(found(build(), {}, "omlab", "_OMLAB_COMPLETE").source())

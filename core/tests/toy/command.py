"""The command of the toy plugin."""

import click


@click.command()
def toy():
    """Say that the toy is there."""
    click.echo("toy command")

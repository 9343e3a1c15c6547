"""`omlab new`: a package that works and passes the checks as it stands."""

from __future__ import annotations

from pathlib import Path

import click

from omlab_testkit.scaffold.kinds import KINDS


@click.command(no_args_is_help=True)
@click.argument("kind", metavar="KIND", type=click.Choice(list(KINDS)))
@click.argument("name", metavar="NAME")
@click.option("--contrib", is_flag=True, help="In a checkout of omlab: put it into contrib/ and list it there.")
def new(*, kind: str, name: str, contrib: bool) -> None:
    """Write a new plugin package that works and passes the checks as it stands.

    KIND is model, recipe, dataset, adapter, evaluator, format (of a kind that is there) or payload (a kind of your
    own with its format). NAME is that of the card; the package is called omlab-NAME.
    """
    from omlab_testkit import scaffold

    written = scaffold.create(kind, name, destination=Path.cwd(), contrib=contrib)
    called = scaffold.names(name)
    folder = next(path.parent for path in written if path.name == "pyproject.toml")
    lists = [path for path in written if not path.is_relative_to(folder)]
    click.echo(f"Wrote {folder}: {len(written) - len(lists)} files.")
    if contrib:
        click.echo(f"Listed it in {' and '.join(str(path) for path in lists)}.")
        click.echo(f"Check it with: uv run nox -s tests -- {called.distribution}")
    else:
        click.echo(f"Go on with: cd {called.distribution}")
        click.echo("            uv pip install -e . --group test")
        click.echo("            pytest")

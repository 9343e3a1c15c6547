"""The command `omlab new`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Kind(StrEnum):
    """What a package can be made for."""

    model = "model"
    dataset = "dataset"
    adapter = "adapter"
    evaluator = "evaluator"


def new(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="model, dataset, adapter or evaluator.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the card; the package is called omlab-NAME.")],
    contrib: Annotated[
        bool, typer.Option("--contrib", help="In a checkout of omlab: put it into contrib/ and list it there.")
    ] = False,
) -> None:
    """Write a new plugin package that works and passes the checks as it stands."""
    from omlab import scaffold

    written = scaffold.create(kind.value, name, destination=Path.cwd(), contrib=contrib)
    called = scaffold.names(name)
    folder = next(path.parent for path in written if path.name == "pyproject.toml")
    typer.echo(f"Wrote {folder}: {len(written)} files.")
    if contrib:
        typer.echo(f"Check it with: uv run nox -s tests -- {called.distribution}")
    else:
        typer.echo(f"Go on with: cd {called.distribution}")
        typer.echo("            uv pip install -e . --group test")
        typer.echo("            pytest")

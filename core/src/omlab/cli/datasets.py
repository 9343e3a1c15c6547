"""The commands `omlab datasets ...`: make or fetch a data set, and look for what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omlab.cli import options

if TYPE_CHECKING:
    from omlab.roles import About


@click.group(no_args_is_help=True)
def datasets() -> None:
    """Prepare and verify data sets: published ones, and your own files."""


def _name_of(name: str, path: str | None) -> str:
    return f"{name}:{path}" if path else name


@datasets.command(no_args_is_help=True)
@click.argument("name", metavar="NAME")
@click.argument("path", metavar="[PATH]", required=False)
@options.root
@options.settings
def prepare(name: str, path: str | None, root: Path | None, settings: tuple[str, ...]) -> None:
    """Make or fetch what is not there yet."""
    from omlab.cli.console import working
    from omlab.datasets import open_dataset

    with working():
        found = open_dataset(_name_of(name, path), root=root, settings=options.pairs(settings))
        found.dataset.prepare()
    click.echo(found.root)


@datasets.command(no_args_is_help=True)
@click.argument("name", metavar="NAME")
@click.argument("path", metavar="[PATH]", required=False)
@options.root
@options.settings
@click.option(
    "--output", "-o", metavar="FOLDER", type=click.Path(path_type=Path), help="Also leave a report with pictures there."
)
@options.as_json
def verify(
    name: str, path: str | None, root: Path | None, settings: tuple[str, ...], output: Path | None, as_json: bool
) -> None:
    """Look for what is wrong.

    Cases and groups are counted by split; the exit status is 1 where something is wrong.
    """
    from omlab.cli.console import working
    from omlab.datasets import open_dataset

    with working():
        found = open_dataset(_name_of(name, path), root=root, settings=options.pairs(settings))
        problems = list(found.dataset.verify())
        abouts = {split: found.dataset.about(split) for split in found.dataset.splits()}
        pages = _pages(found.dataset, output)
    facts: dict[str, Any] = {
        "splits": {split: {"cases": about.cases, "groups": about.groups} for split, about in abouts.items()},
        "classes": {split: dict(about.classes) for split, about in abouts.items()},
        "problems": problems,
    }
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        for line in dict.fromkeys(_contents(abouts)):
            click.echo(line)
        for split, about in abouts.items():
            groups = f", {_counted(about.groups, 'group')}" if about.groups is not None else ""
            click.echo(f"{split}: {_counted(about.cases, 'case')}{groups}")
        for problem in problems:
            click.echo(problem, err=True)
        click.echo("Nothing is wrong." if not problems else f"{_counted(len(problems), 'problem')}.")
        for page in pages:
            click.echo(page)
    raise click.exceptions.Exit(1 if problems else 0)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _contents(abouts: Mapping[str, About]) -> Iterator[str]:
    """What the splits hold: kinds, task and classes, each said once where it is the same for all."""
    for about in abouts.values():
        inputs = ", ".join(f"{name} ({kind})" for name, kind in about.inputs.items()) or "none"
        target = f"; target: {about.target}{f' ({about.task})' if about.task else ''}" if about.target else ""
        yield f"inputs: {inputs}{target}"
        if about.classes:
            yield f"classes: {', '.join(f'{value} {name}' for value, name in about.classes.items())}"


def _pages(data: Any, output: Path | None) -> list[Path]:
    """What the data set draws of itself, where it can (`report(folder) -> paths`)."""
    if output is None or not hasattr(data, "report"):
        return []
    return list(data.report(output))

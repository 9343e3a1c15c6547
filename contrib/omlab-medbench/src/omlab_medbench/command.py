"""`omlab medbench`: scoring recorded answers, and drawing the items of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from omlab.cli.setting_options import given, read_settings, setting_options

SETTINGS = read_settings("omlab_medbench")


@click.group(no_args_is_help=True)
def medbench() -> None:
    """Chinese medical language models by dimension and set, after MedBench: compatible and mended scores."""


@medbench.command(no_args_is_help=True)
@setting_options(SETTINGS)
@click.option("--output", "-o", metavar="FOLDER", help="Folder of the report (default: in omlab-runs/).")
def score(output: str | None, **options: Any) -> None:
    """Score recorded answers; leaves a report page."""
    from omlab.cli.console import working
    from omlab.cli.results import conclude, show_report
    from omlab_medbench.evaluation import score as run

    with working():
        outcome = run(given(options, SETTINGS), output=output)
    if outcome.report is not None:
        show_report(outcome.report)
    conclude(outcome)


@medbench.command(no_args_is_help=True)
@click.argument("questions", metavar="QUESTIONS", type=click.Path(path_type=Path))
@click.option(
    "--output",
    "-o",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    required=True,
    help="A new folder for items.jsonl and draw.json.",
)
@click.option("--count", type=int, default=100, show_default=True, help="Items of each set.")
@click.option(
    "--least", type=int, default=1, show_default=True, help="At least so many of each specialty and difficulty."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the drawing.")
@click.option("--permute/--no-permute", default=True, show_default=True, help="Permute the options.")
@click.option(
    "--previous",
    metavar="FILE",
    type=click.Path(path_type=Path),
    multiple=True,
    help="An earlier draw whose items are avoided; repeatable.",
)
@click.option(
    "--tasks", metavar="FILE", type=click.Path(path_type=Path), help="TOML file with the sets of another version."
)
def draw(
    questions: Path,
    output: Path,
    count: int,
    least: int,
    seed: int,
    permute: bool,
    previous: tuple[Path, ...],
    tasks: Path | None,
) -> None:
    """Draw items for a run: stratified, differently asked, with permuted options; seeded and recorded.

    QUESTIONS: JSON lines with set, id, question, options; no answers.
    """
    from omlab_medbench.draw import DrawSettings, drawn_before, read_questions, write_draw
    from omlab_medbench.draw import draw as drawn
    from omlab_medbench.tasks import read_tasks

    version = read_tasks(tasks)
    settings = DrawSettings(count=count, least=least, seed=seed, permute=permute)
    before = drawn_before(previous)
    items = drawn(read_questions(questions, tasks=version), settings=settings, tasks=version, before=before)
    again = sum((item["set"], str(item["id"])) in before for item in items)
    write_draw(output, items, settings=settings, tasks=version, pool=questions, before=again)
    click.echo(f"{len(items)} items, {again} of them drawn before: {output}")

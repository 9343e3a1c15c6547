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


_QUESTIONS = click.argument("questions", metavar="QUESTIONS", type=click.Path(path_type=Path))
_TASKS = click.option(
    "--tasks", metavar="FILE", type=click.Path(path_type=Path), help="TOML file with the sets of another version."
)


@medbench.command(no_args_is_help=True)
@_QUESTIONS
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
@click.option("--circular", is_flag=True, help="Ask each item once for each rotation of its options.")
@click.option(
    "--previous",
    metavar="FILE",
    type=click.Path(path_type=Path),
    multiple=True,
    help="An earlier draw whose items are avoided; repeatable.",
)
@_TASKS
def draw(
    questions: Path, output: Path, count: int, least: int, seed: int, permute: bool, circular: bool,
    previous: tuple[Path, ...], tasks: Path | None,
) -> None:  # fmt: skip
    """Draw items for a run: stratified, differently asked, with permuted options; seeded and recorded.

    QUESTIONS: JSON lines with set, id, question, options; or the folder that MedBench publishes.
    """
    from omlab_medbench.draw import DrawSettings, drawn_before, write_draw
    from omlab_medbench.draw import draw as drawn
    from omlab_medbench.questions import key_of, read_questions
    from omlab_medbench.tasks import read_tasks

    version = read_tasks(tasks)
    settings = DrawSettings(count=count, least=least, seed=seed, permute=permute, circular=circular)
    before = drawn_before(previous)
    pool = sorted(questions.glob("*.jsonl")) if questions.is_dir() else [questions]
    items = drawn(read_questions(questions, tasks=version), settings=settings, tasks=version, before=before)
    keys = {key_of(item) for item in items}
    again = len(keys & before)
    write_draw(output, items, settings=settings, tasks=version, pool=pool, before=again)
    asked = "" if len(items) == len(keys) else f" in {len(items)} rotations"
    click.echo(f"{len(keys)} items{asked}, {again} of them drawn before: {output}")


@medbench.command(no_args_is_help=True)
@_QUESTIONS
@click.option(
    "--corpus",
    metavar="PATH",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="Texts that a model was trained with: .jsonl, .txt, .md, or a folder of such; repeatable.",
)
@click.option("--n", type=int, default=13, show_default=True, help="Words (Chinese: characters) of an n-gram.")
@click.option(
    "--share", type=float, default=0.5, show_default=True, help="From this share of its n-grams on a question overlaps."
)
@click.option(
    "--draw",
    "draws",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A draw whose canary is looked for; repeatable.",
)
@click.option("--canary", "canaries", metavar="TEXT", multiple=True, help="A text that must not occur; repeatable.")
@_TASKS
@click.option("--output", "-o", metavar="FOLDER", help="Folder of the report (default: in omlab-runs/).")
def overlap(
    questions: Path, corpus: tuple[Path, ...], n: int, share: float, draws: tuple[Path, ...], canaries: tuple[str, ...],
    tasks: Path | None, output: str | None,
) -> None:  # fmt: skip
    """Look for questions, and for the canaries of draws, in what a model was trained with; leaves a report page.

    QUESTIONS: as for draw.
    """
    from omlab.cli.console import working
    from omlab.cli.results import conclude, show_report
    from omlab_medbench.overlap import OverlapSettings
    from omlab_medbench.overlap import overlap as run

    with working():
        outcome = run(
            questions, corpus, settings=OverlapSettings(n=n, share=share), draws=draws, canaries=canaries, tasks=tasks,
            output=output,
        )  # fmt: skip
    if outcome.report is not None:
        show_report(outcome.report)
    conclude(outcome)


@medbench.command(no_args_is_help=True)
@_QUESTIONS
@click.option(
    "--answers",
    metavar="FILE",
    type=click.Path(path_type=Path),
    required=True,
    help="JSON lines with set, id, predict_answer, for every question.",
)
@_TASKS
@click.option("--output", "-o", metavar="FOLDER", type=click.Path(path_type=Path), required=True, help="A new folder.")
def submission(questions: Path, answers: Path, tasks: Path | None, output: Path) -> None:
    """Write answers into the rows that MedBench publishes, for its server.

    QUESTIONS: the published folder.
    """
    from omlab_medbench.submission import write_submission
    from omlab_medbench.tasks import read_tasks

    count = write_submission(questions, answers, output, tasks=read_tasks(tasks))
    click.echo(f"{count} answers: {output}")

"""`omlab medfmc`: what there is of the data, the challenge's submission, and its ranking."""

from __future__ import annotations

from pathlib import Path

import click

DATA = click.option(
    "--data",
    "root",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Where MedFMC lies (default: where the runs had it).",
)


@click.group(no_args_is_help=True)
def medfmc() -> None:
    """MedFMC: its lists, the submission of its challenge, and its ranking."""


@medfmc.command()
@click.argument("root", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option("--lists", metavar="FOLDER", type=click.Path(path_type=Path), help="A further folder with lists.")
def lists(root: Path, lists: Path | None) -> None:
    """Tell of the lists in FOLDER: how many images they name beside how many are published, classes, digests.

    Of a few-shot list for validation also how many training images it holds.
    """
    from omlab.cli.console import working
    from omlab_medfmc.overview import overview

    with working():
        for line in overview(root, lists=lists):
            click.echo(line)


@medfmc.command(no_args_is_help=True)
@click.argument("runs", metavar="SET-SHOTS=RUN... | FOLDER", nargs=-1, required=True)
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    type=click.Path(path_type=Path),
    default="submission.zip",
    show_default=True,
    help="The ZIP file.",
)
@click.option("--entry", metavar="MODEL/ADAPTER", help="Of a board with several entries.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of a board: the episode's.")
@DATA
def submit(runs: tuple[str, ...], output: Path, entry: str | None, seed: int, root: Path | None) -> None:
    """Make the challenge's submission from runs of `omlab predict` on the split `unlabelled`.

    Such as chest-1=run1/ chest-5=run2/ colon-1=run3/; a folder of runs, whose models say their sets and shots; or
    boards of `omlab benchmark`, whose cases are those that were measured.
    """
    from omlab.cli.console import working
    from omlab.files import writing
    from omlab_medfmc.submission import Choice, submission, write_zip

    with working():
        files = submission(runs, root=root, choice=Choice(entry=entry, seed=seed))
        with writing("The submission", output):
            write_zip(files, output)
    for name, text in files.items():
        click.echo(f"{name}: {len(text.splitlines())} images")
    click.echo(output)


@medfmc.command(no_args_is_help=True)
@click.argument("tables", metavar="TABLE | BOARD...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--output", "-o", metavar="FILE", type=click.Path(path_type=Path), help="Also write the standings as CSV there."
)
@click.option(
    "--published/--mended",
    default=True,
    show_default=True,
    help="Classes without cases: count the class before once more, as the challenge did, or leave them out.",
)
@DATA
def rank(tables: tuple[Path, ...], output: Path | None, published: bool, root: Path | None) -> None:
    """Rank models as the challenge does.

    TABLE is a CSV file with the columns model, set, shots, exp and run (of `omlab predict` on the split `test`), or
    in place of run mAP, accuracy and AUC in percent; a BOARD is the folder of an `omlab benchmark` on one of the sets.
    """
    from omlab.cli.console import working
    from omlab.files import writing
    from omlab_medfmc.ranking import ranking, read_board, read_table, write_standings

    with working():
        rows = []
        for path in tables:
            is_folder = path.is_dir()
            rows += (
                read_board(path, published=published) if is_folder else read_table(path, root=root, published=published)
            )
        standings = ranking(rows)
        if output is not None:
            with writing("The standings", output):
                write_standings(standings, output)
    for one in standings:
        figure = "not all of the 9 sets and shots" if one.figure is None else f"{one.figure:.2f}"
        click.echo(f"{one.rank if one.rank is not None else '-'}\t{one.model}\t{figure}")
    if output is not None:
        click.echo(output)

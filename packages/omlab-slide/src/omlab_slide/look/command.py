"""`omlab slide ...`: the commands about slides themselves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omlab.cli import options

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = 20
"""Slides that the terminal shows; the files have all."""


@click.group(no_args_is_help=True)
def slide() -> None:
    """Look at slides before anything is done with them."""


@slide.command("look", no_args_is_help=True)
@click.argument("slides", metavar="[SLIDE]...", nargs=-1, type=click.Path(path_type=Path))
@options.output("A folder")
@options.data
@click.option("--split", metavar="NAME", help="Split of the data set (default: test; of own files all).")
@options.root
@options.mapped
@options.settings
@click.option(
    "--mpp",
    metavar="SCALE",
    default="0.5",
    show_default=True,
    help="Scale of the patches that are counted: micrometres a pixel, or a magnification such as 20x.",
)
@click.option("--patch", metavar="N", type=click.IntRange(min=1), default=256, show_default=True, help="Pixels a side.")
@click.option(
    "--overlap", metavar="N", type=click.IntRange(min=0), default=0, show_default=True, help="Pixels of two patches."
)
@click.option(
    "--least-share",
    metavar="S",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Of a patch that must be tissue.",
)
@click.option(
    "--tissue",
    "method",
    metavar="METHOD",
    default="saturation",
    show_default=True,
    help="saturation, otsu, morphological, or clam-PRESET as published.",
)
@options.as_json
def look(*, slides: Sequence[Path], mapped: Sequence[str], settings: Sequence[str], as_json: bool, **more: Any) -> None:
    """A dry run: tissue, patches and doubts of slides.

    Nothing else is done. SLIDE is a file or a folder of them. OUT gets slides.csv with a row a slide, a picture of
    each, and a contact sheet, report.html. A slide that cannot be read stops no other. Started again, it does what is
    missing.
    """
    from omlab.cli.console import stdout_console, working
    from omlab.cli.results import conclude
    from omlab.settings import by_home, by_input
    from omlab_slide.look.jobs import look_at_slides

    given = by_home(options.pairs(settings), {"data": None, "read": None}, plain=())
    with working():
        outcome = look_at_slides(
            list(slides),
            mapped=options.pairs(mapped),
            data_settings=given["data"],
            read_settings=by_input(given["read"]),
            **more,
        )
    rows = [] if outcome.report is None else list(outcome.report.details["slides"])
    if as_json:
        click.echo(json.dumps({"place": str(outcome.place), "slides": rows}, indent=2))
        raise click.exceptions.Exit(outcome.exit_status)
    if rows:
        stdout_console().print(_table(rows))
    conclude(outcome)


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", caption_justify="left")
    table.add_column("slide", overflow="fold")
    for title in ("mpp", "tissue (mm2)", "patches"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("doubts", overflow="fold")
    for row in rows[:SHOWN]:
        if row["status"] == "failed":
            table.add_row(escape(row["id"]), "-", "-", "-", "failed")
            continue
        doubts = ", ".join([*row["flags"], *([row["reason"]] if row["reason"] else [])])
        figures = (f"{row['mpp']:.3g}", f"{row['tissue_mm2']:.2f}", f"{row['patches']:,}")
        table.add_row(escape(row["id"]), *figures, escape(doubts))
    left = len(rows) - SHOWN
    if left > 0:
        table.caption = f"{left} more slides are in slides.csv."
    return table


@slide.command("report", no_args_is_help=True)
@click.argument("features", metavar="FEATURES", type=click.Path(path_type=Path))
@click.option(
    "--heat", metavar="HEAT", type=click.Path(path_type=Path), help="The run of omlab explain, of their heat."
)
@click.option(
    "--annotations",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Regions to judge the heat by: GeoJSON named after the slides (default: beside them).",
)
@options.output("A folder")
def report(*, features: Path, heat: Path | None, annotations: Path | None, output: str | None) -> None:
    """Pages of slides whose features are there.

    FEATURES is the folder of a run of omlab embed. OUT gets a page for each slide (tissue, patches, heat map, the
    patches that stand out, their Dice with an annotation) and one of all, report.html.
    """
    from omlab.cli.console import working
    from omlab.cli.results import conclude
    from omlab_slide.pages.jobs import report_slides

    with working():
        outcome = report_slides(features, heat=heat, annotations=annotations, output=output)
    conclude(outcome)

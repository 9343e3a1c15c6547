"""`omlab measure`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omlab.cli import options

if TYPE_CHECKING:
    from rich.table import Table

    from omlab.jobs.outcome import Outcome

SHOWN = 20
"""Structures that the terminal shows; the files have all."""


@click.command("measure", no_args_is_help=True)
@click.argument("labelmaps", metavar="[LABELMAP]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--image",
    "images",
    metavar="PATH",
    multiple=True,
    type=click.Path(path_type=Path),
    help="The image that LABELMAP lies on, or a folder of images called like the label maps. Repeatable.",
)
@options.output("A file (.json, .csv, .dcm) or a folder")
@options.data
@click.option("--split", metavar="NAME", help="Split of the data set (default: test; of own files all).")
@options.root
@options.mapped
@options.settings
@click.option("--channel", metavar="N", type=click.IntRange(min=1), default=1, show_default=True, help="Of the image.")
@click.option(
    "--unit", metavar="TEXT", default="", help="Of intensities, such as HU, where the image's file does not say it."
)
@click.option(
    "--bin-width",
    metavar="W",
    type=click.FloatRange(min=0, min_open=True),
    default=25.0,
    show_default=True,
    help="Of entropy, in the image's unit.",
)
@options.as_json
def measure(
    *,
    labelmaps: Sequence[Path],
    images: Sequence[Path],
    mapped: Sequence[str],
    settings: Sequence[str],
    as_json: bool,
    **more: Any,
) -> None:
    """Measure what was segmented: volume, shape, diameters, and intensities where there is an image.

    Each label of LABELMAP is a structure. A folder as OUT gets a file a case, measurements.csv, pictures and
    report.html; where an input is DICOM, a structured report (SR) is written beside. Started again, it does what is
    missing.
    """
    from omlab.cli.console import stdout_console, working
    from omlab.cli.results import conclude, show_report
    from omlab.settings import by_home, by_input
    from omlab_measure.jobs import measure_files

    given = by_home(options.pairs(settings), {"data": None, "read": None}, plain=())
    with working():
        outcome = measure_files(
            list(labelmaps),
            images=list(images),
            mapped=options.pairs(mapped),
            data_settings=given["data"],
            read_settings=by_input(given["read"]),
            **more,
        )
    found = _lone(outcome)
    if as_json:
        failed = {record.id: record.reason for record in outcome.failed}
        click.echo(json.dumps({"place": str(outcome.place), "measurements": found, "failed": failed}, indent=2))
        raise click.exceptions.Exit(outcome.exit_status)
    if found is not None:
        stdout_console().print(_table(found))
    elif outcome.report is not None:
        show_report(outcome.report)
    conclude(outcome)


def _lone(outcome: Outcome) -> Mapping[str, Any] | None:
    """What was measured in the only case; None where there are several, or it failed."""
    done = [record for record in outcome if record.status == "done"]
    return done[0].values["rows"][0] if len(done) == 1 else None


def _table(found: Mapping[str, Any]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    unit = f" {found['intensity_unit']}" if found["intensity_unit"] else ""
    has_image = "mean" in found["units"]
    table = Table(box=None, pad_edge=False, header_style="bold", caption_justify="left")
    table.add_column("structure", overflow="fold")
    for title in ("volume (ml)", "axes (mm)", *([f"mean{unit}"] if has_image else [])):
        table.add_column(title, justify="right", no_wrap=True)
    for row in found["structures"][:SHOWN]:
        figures = row["figures"]
        size = "{volume_ml:.2f} [{volume_low_ml:.2f}, {volume_high_ml:.2f}]".format(**figures)
        axes = "{long_axis_mm:.1f} x {short_axis_mm:.1f}".format(**figures)
        mean = [] if not has_image else ["-" if figures["mean"] is None else f"{figures['mean']:.1f}"]
        table.add_row(escape(row["name"]) + (" (cut)" if row["touches_edge"] else ""), size, axes, *mean)
    left = len(found["structures"]) - SHOWN
    if left > 0:
        table.caption = f"{left} more structures are in the file."
    return table

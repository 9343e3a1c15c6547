"""`omlab prompt-from`: what one model found becomes prompts for another."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omlab.cli import options
from omlab.errors import InputError, UsageError

if TYPE_CHECKING:
    from omlab.card_schema import FormatCard
    from omlab.jobs.outcome import Outcome
    from omlab.jobs.run_cases import FileCase
    from omlab_prompts.deriving import Wanted

KIND = "prompt-from"
_SUFFIXES = {"prompts-json": ".json", "slicer-markups": ".mrk.json"}


@click.command(KIND, no_args_is_help=True)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--label", "labels", metavar="NAME", multiple=True, help="Only this structure. Repeatable.")
@click.option("--points", metavar="K", type=click.IntRange(min=0), default=1, show_default=True, help="Inside each.")
@click.option(
    "--negatives", metavar="N", type=click.IntRange(min=0), default=0, show_default=True, help="Outside, near each."
)
@click.option("--boxes", is_flag=True, help="Also a box around each.")
@click.option(
    "--margin", metavar="MM", type=click.FloatRange(min=0), default=0.0, show_default=True, help="Of the boxes."
)
@click.option(
    "--image", metavar="FILE", type=click.Path(path_type=Path), help="The image that voxels or pixels are of."
)
@click.option(
    "--against", metavar="TARGET", type=click.Path(path_type=Path), help="Say how many points a reference agrees with."
)
@options.output("A file (.json, .mrk.json) or a folder")
def prompt_from(
    *,
    files: Sequence[Path],
    labels: Sequence[str],
    points: int,
    negatives: int,
    boxes: bool,
    margin: float,
    image: Path | None,
    against: Path | None,
    output: str | None,
) -> None:
    """Make prompts of label maps, boxes or points, for a model that takes prompts.

    Each structure gets the point deepest inside it, further ones away from that, and what else is asked for.
    """
    from omlab.cli.console import working
    from omlab.cli.results import conclude
    from omlab_prompts.deriving import Wanted

    wanted = Wanted(
        labels=labels,
        points=points,
        negatives=negatives,
        boxes=boxes,
        margin=margin,
        image="" if image is None else image.absolute().name,
    )
    with working():
        outcome = make_prompts(files, wanted, against=against, output=output)
    _show(outcome)
    conclude(outcome)


def make_prompts(
    files: Sequence[Path], wanted: Wanted, *, against: Path | None = None, output: str | None = None
) -> Outcome:
    """The prompts of files, each a file of its own; one of one file where `output` is a file.

    Raises `OmlabError` where nothing could be started, or no prompts could be made.
    """
    from omlab.digests import digest_of
    from omlab.formats import named_format
    from omlab.jobs.one_file import OneFile, is_one_file
    from omlab.jobs.run_cases import FileCase, run_cases

    if against is not None and len(files) != 1:
        raise UsageError(f"--against {against} is the reference of one file, but {len(files)} were named.")
    into_file = output is not None and is_one_file(output, "prompts")
    is_markups = into_file and str(output).lower().endswith(".mrk.json")
    card = named_format("slicer-markups" if is_markups else "prompts-json", "prompts")
    more = {} if against is None else {"target": [against]}
    cases = [FileCase(id=id, files={"found": [path], **more}) for id, path in _named(files).items()]
    request = {"command": KIND, "wanted": vars(wanted) | {"labels": list(wanted.labels)}, "format": card.name}
    do = partial(
        run_cases,
        cases,
        partial(_do, wanted=wanted, card=card),
        request=request,
        kind=KIND,
        role=lambda name: _role(card),
    )
    if output is not None and into_file:
        file = OneFile(path=Path(output), kind=KIND, request=request)
        file.check(cases)
        return file.there(cases) or file.make(lambda folder: do(output=folder))
    place = (
        output or Path("omlab-runs") / f"{KIND}-{digest_of([request, [str(path.absolute()) for path in files]])[:8]}"
    )
    return do(output=place)


def _role(card: FormatCard) -> Any:
    from omlab.records import Role

    return Role("main", card.name, "prompts")


def _do(case: FileCase, folder: Path, *, wanted: Wanted, card: FormatCard) -> Mapping[str, Any]:
    from omlab.formats import read, write_as
    from omlab.jobs.outputs import file_name
    from omlab_prompts.deriving import hits, prompts_from

    path = case.files["found"][0]
    found = read(path, kind=_kind_of(path))
    prompts = prompts_from(found, wanted, name=str(path))
    write_as(card, prompts, folder / f"{file_name(case.id)}{_SUFFIXES[card.name]}", inputs={})
    targets = case.files.get("target", ())
    return {"hits": [row for target in targets for row in hits(prompts, read(target, kind=_kind_of(target)))]}


def _named(files: Sequence[Path]) -> dict[str, Path]:
    """The files by an id for each. Raises `InputError` for one that is not there, `UsageError` for two of one name."""
    from omlab.formats import format_cards, suffix_of

    cards = format_cards()
    found: dict[str, Path] = {}
    for path in files:
        if not path.exists():
            raise InputError(f"{path} does not exist.")
        name = path.absolute().name
        id = name[: len(name) - len(suffix_of(path, cards))] or name
        if id in found:
            raise UsageError(f"{found[id]} and {path} would be one case '{id}': do them apart.")
        found[id] = path
    return found


def _kind_of(path: Path) -> str:
    """The kind that prompts are made from which a file holds. Raises `InputError` where there is none."""
    from omlab.formats import kinds_of
    from omlab_prompts.deriving import KINDS

    kinds = [kind for kind in kinds_of(path) if kind in KINDS]
    if path.suffix.lower() == ".json":
        kinds = [kind for kind in kinds if kind == _said_kind(path)]
    if not kinds:
        raise InputError(f"{path} holds no label map, boxes or points, which prompts are made from.")
    return kinds[0]


def _said_kind(path: Path) -> str:
    """The kind that a JSON file says it holds."""
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        raise InputError(f"{path} cannot be read as JSON.") from None
    return str(value.get("kind", "")) if isinstance(value, dict) else ""


def _show(outcome: Outcome) -> None:
    """How many points of each object the reference agrees with, where there is one."""
    from rich.markup import escape
    from rich.table import Table

    from omlab.cli.console import stdout_console

    rows = [row for record in outcome for row in record.values.get("hits", [])]
    if not rows:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Points that the reference agrees with", overflow="fold")
    table.add_column("", justify="right", no_wrap=True)
    for row in rows:
        said = f"{row['right']} of {row['points']}" if row["in_target"] else "not in the reference"
        table.add_row(escape(row["object"]), said)
    stdout_console().print(table)

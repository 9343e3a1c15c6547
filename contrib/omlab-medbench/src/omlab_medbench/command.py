"""`omlab medbench-draw`: the items of a run, drawn and recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def medbench_draw(
    questions: Annotated[Path, typer.Argument(help="JSON lines with set, id, question, options; no answers.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder for items.jsonl and draw.json.")],
    count: Annotated[int, typer.Option("--count", help="Items of each set.")] = 100,
    least: Annotated[int, typer.Option("--least", help="At least so many of each specialty and difficulty.")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the drawing.")] = 0,
    permute: Annotated[bool, typer.Option(help="Permute the options.")] = True,
    previous: Annotated[
        list[Path] | None, typer.Option("--previous", help="An earlier draw whose items are avoided; repeatable.")
    ] = None,
    tasks: Annotated[Path | None, typer.Option("--tasks", help="TOML file with the sets of another version.")] = None,
) -> None:
    """Draw items of MedBench for a run: stratified, differently asked, with permuted options; seeded and recorded."""
    from omlab_medbench.draw import DrawSettings, draw, drawn_before, read_questions, write_draw
    from omlab_medbench.tasks import read_tasks

    version = read_tasks(tasks)
    settings = DrawSettings(count=count, least=least, seed=seed, permute=permute)
    before = drawn_before(previous or [])
    items = draw(read_questions(questions, tasks=version), settings=settings, tasks=version, before=before)
    again = sum((item["set"], str(item["id"])) in before for item in items)
    write_draw(output, items, settings=settings, tasks=version, pool=questions, before=again)
    typer.echo(f"{len(items)} items, {again} of them drawn before: {output}")

"""`omlab design`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from omlab.cli import options

MEASURED, LIBRARY = "measured", "mutants"


@click.command("design", no_args_is_help=True)
@click.argument("model", metavar="MODEL", shell_complete=options.model_names)
@click.argument("inputs", metavar="WILD.fasta [measured=CSV]... [mutants=CSV]", nargs=-1, shell_complete=options.paths)
@options.output("A .csv, or a folder")
@click.option("--sites", metavar="N", type=click.IntRange(min=1), default=3, show_default=True, help="Changed at most.")
@click.option("--batch", metavar="N", type=click.IntRange(min=1), default=96, show_default=True, help="Mutants wanted.")
@click.option("--keep", metavar="1-9,45", default="", help="Positions that must not change, counted from 1.")
@click.option("--avoid", metavar="LETTERS", default="", help="Residues that are not put in, such as CM.")
@click.option(
    "--explore",
    metavar="SHARE",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Of the plate that single heads of the ensemble pick, not their mean.",
)
@click.option("--seed", metavar="N", type=int, default=0, show_default=True, help="Of ensemble and search.")
@options.settings
@options.weights
@options.needs
@options.device
@options.offline
@options.as_json
def design(
    *,
    model: str,
    inputs: Sequence[str],
    settings: Sequence[str],
    needs: Sequence[str],
    offline: bool,
    as_json: bool,
    **more: Any,
) -> None:
    """Propose the mutants of a protein to measure next.

    MODEL scores variants; measured=CSV (mutant, score) are earlier rounds, mutants=CSV are the only mutants that can
    be made. OUT gets the plate as a table, its sequences, and a page. Write what you measure into the table's column
    score and give it to the next round as measured=.
    """
    from omlab.cli.console import working
    from omlab.cli.results import conclude, show_words
    from omlab.errors import UsageError
    from omlab.models import find_card
    from omlab.session import verb_of
    from omlab.settings import by_home
    from omlab_protein.design.jobs import VERB, Limits, design_plate

    tables, rest = _measured(inputs)
    paths, named, values = options.inputs_of(rest)
    wrong = next((name for name in (*named, *values) if name != LIBRARY), None)
    if wrong is not None or values:
        raise UsageError(f"'design' takes measured=FILE and mutants=FILE, not '{wrong or LIBRARY}'.")
    if len(paths) != 1:
        raise UsageError(f"Name one FASTA file of the wild type, not {len(paths) or 'none'}.")
    card = find_card(model)
    homes = {"model": card.settings, "options": verb_of(card, VERB, name=model).options}
    given = by_home(options.pairs(settings), homes, plain=("model", "options"))
    limits = Limits(
        keep=_positions(more.pop("keep")),
        avoid=more.pop("avoid").upper(),
        **{name: more.pop(name) for name in ("sites", "batch", "explore", "seed")},
    )
    with working():
        outcome = design_plate(
            model,
            paths[0],
            measured=tables,
            library=named.get(LIBRARY),
            limits=limits,
            settings=given["model"],
            options=given["options"],
            needs=options.pairs(needs),
            offline=offline or None,
            **more,
        )
    if as_json:
        failed = {record.id: record.reason for record in outcome.failed}
        click.echo(json.dumps({"place": str(outcome.place), "failed": failed}, indent=2))
        raise click.exceptions.Exit(outcome.exit_status)
    show_words(outcome)
    conclude(outcome)


def _measured(inputs: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The measured tables, of which there may be several, and all other words."""
    sign = f"{MEASURED}="
    tables = [Path(word.removeprefix(sign)) for word in inputs if word.startswith(sign)]
    return tables, [word for word in inputs if not word.startswith(sign)]


def _positions(text: str) -> frozenset[int]:
    """Positions such as `1-9,45`. Raises `UsageError`."""
    from omlab.errors import UsageError

    found: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, _, last = part.partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            raise UsageError(f"'{part}' is no position: write --keep 1-9,45, counted from 1.")
        found |= set(range(int(first), int(last or first) + 1))
    return frozenset(found)

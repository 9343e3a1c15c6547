"""`omlab simulate`: a model clicks by itself against a reference; the command shows how good it gets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omlab.cli import options
from omlab.errors import UsageError

if TYPE_CHECKING:
    from omlab.card_schema import Verb
    from omlab.jobs.outcome import Outcome

VERB, REFERENCE, FOUND = "simulate", "reference", "found"


@click.command(VERB, no_args_is_help=True)
@click.argument("model", metavar="MODEL")
@click.argument("image", metavar="IMAGE", type=click.Path(path_type=Path))
@click.option(
    "--labels", metavar="FILE", type=click.Path(path_type=Path), required=True, help="The reference, on IMAGE's grid."
)
@click.option(
    "--found", metavar="FILE", type=click.Path(path_type=Path), help="Begin at what another model found: its label map."
)
@click.option("--clicks", metavar="N", type=click.IntRange(min=1), required=True, help="Clicks for each object.")
@click.option("--seed", metavar="S", type=int, default=0, show_default=True, help="Chooses among places as good.")
@options.output("A folder")
@click.option("--overlay", metavar="PNG", help="Also draw the last prediction with the clicks and the reference.")
@options.settings
@options.weights
@options.needs
@options.device
@options.offline
def simulate(
    *,
    model: str,
    image: Path,
    labels: Path,
    found: Path | None,
    clicks: int,
    seed: int,
    settings: tuple[str, ...],
    needs: tuple[str, ...],
    offline: bool,
    **more: Any,
) -> None:
    """Let a model click by itself against a reference, and show how good it gets.

    Each label of the reference is an object; each click goes where the masks so far are wrong, the first one where
    --found has the object deepest. OUT gets the last prediction, the clicks (`omlab predict MODEL IMAGE prompts=FILE`
    takes them again) and the Dice after each.
    """
    from omlab.cli.console import working
    from omlab.cli.results import conclude
    from omlab.jobs.fitting import fitting
    from omlab.jobs.verbs import apply_verb
    from omlab.models import find_card
    from omlab.session import verb_of
    from omlab.settings import by_home, by_input

    named = {REFERENCE: labels} | ({} if found is None else {FOUND: found})
    model = fitting(model, VERB, [image], named=list(named))
    card = find_card(model)
    facts = verb_of(card, VERB, name=model)
    _check_image(image, facts, model=model, named=named)
    homes = {"model": card.settings, "options": facts.options, "read": None}
    given = by_home(options.pairs(settings), homes, plain=("model", "options"))
    with working():
        outcome = apply_verb(
            VERB,
            model,
            image,
            named=named,
            settings=given["model"],
            options={"clicks": clicks, "seed": seed, **given["options"]},
            read_settings=by_input(given["read"]),
            needs=options.pairs(needs),
            offline=offline or None,
            **more,
        )
    _show(outcome)
    conclude(outcome)


def _check_image(image: Path, facts: Verb, *, model: str, named: Iterable[str]) -> None:
    """Raise `UsageError` where a model has no such inputs, or there are several images for one reference."""
    from omlab.cases import cases_in

    for wanted in named:
        if wanted not in facts.takes:
            raise UsageError(f"'{model}' simulates without an input '{wanted}': use omlab do {VERB}.")
    name = next((name for name in facts.required if name != REFERENCE), None)
    count = len(cases_in([image], facts.kinds[name], name=name)) if name else 1
    if count > 1:
        raise UsageError(f"{image} holds {count} inputs, but the reference is of one: name one file.")


def _show(outcome: Outcome) -> None:
    """The Dice of each object after each click."""
    from omlab.cli.console import stdout_console
    from omlab_prompts.click_table import ClickTable

    for record in outcome:
        for row in record.outputs if record.status == "done" else []:
            if row.get("format") == "clicks-csv":
                scores = ClickTable().read(outcome.place / row["path"], kind="click-scores")
                stdout_console().print(_table(scores.rows))


def _table(rows: Sequence[Mapping[str, Any]]) -> object:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Dice after click", no_wrap=True)
    for number in sorted({row["round"] for row in rows}):
        table.add_column(str(number), justify="right", no_wrap=True)
    for name in dict.fromkeys(row["object"] for row in rows):
        table.add_row(escape(name), *_figures([row for row in rows if row["object"] == name], of=rows))
    return table


def _figures(rows: Iterable[Mapping[str, Any]], *, of: Sequence[Mapping[str, Any]]) -> list[str]:
    dice = {row["round"]: row["dice"] for row in rows}
    found = [dice.get(number) for number in sorted({row["round"] for row in of})]
    return ["-" if value is None else f"{value:.3f}" for value in found]

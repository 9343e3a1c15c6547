"""`omlab predict ... --labels REFERENCE --clicks N`: which options belong together, and the table of the outcome."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omlab.cli.console import stdout_console
from omlab.errors import UsageError

if TYPE_CHECKING:
    from omlab.jobs.outcome import Outcome
    from omlab.runs import Case


def check_options(
    inputs: Sequence[Path], *, labels: Path | None, clicks: int | None, seed: int | None, prompts: Path | None
) -> None:
    """Raise `UsageError` where options of simulated clicks lack each other or meet those of prompts."""
    if (labels is None) != (clicks is None):
        given, lacking = ("--labels", "--clicks N") if clicks is None else ("--clicks", "--labels FILE")
        raise UsageError(f"{given} is for simulated clicks against a reference, which also need {lacking}.")
    if labels is None and seed is not None:
        raise UsageError("--seed is for simulated clicks: it needs --labels FILE and --clicks N.")
    if labels is not None and prompts is not None:
        raise UsageError("Clicks are either given or simulated: leave out --points, or --labels and --clicks.")
    if labels is not None and len(inputs) > 1:
        raise UsageError(f"Clicks are simulated in one input against its reference, but {len(inputs)} are named.")


def show_clicks(outcome: Outcome) -> None:
    """The Dice of each object after each click."""
    for case in outcome.cases.values():
        if case.status == "done":
            stdout_console().print(_table(case))


def _table(case: Case) -> object:
    from rich.table import Table

    rows = case.values["clicks"]
    rounds = sorted({row["round"] for row in rows})
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Dice after click", no_wrap=True)
    for number in rounds:
        table.add_column(str(number), justify="right", no_wrap=True)
    for name in dict.fromkeys(row["object"] for row in rows):
        dice = {row["round"]: row["dice"] for row in rows if row["object"] == name}
        table.add_row(str(name), *(_figure(dice.get(number)) for number in rounds))
    return table


def _figure(dice: float | None) -> str:
    return "-" if dice is None else f"{dice:.3f}"

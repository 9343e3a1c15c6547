"""`omlab pulse-eval`: chat models judged in pairs."""

from __future__ import annotations

from typing import Any

import click

from omlab.cli.setting_options import given, read_settings, setting_options
from omlab.settings import parse_pairs

SETTINGS = read_settings("omlab_pulse_eval")


@click.command("pulse-eval", no_args_is_help=True)
@setting_options(SETTINGS)
@click.option(
    "--set",
    "-s",
    "model_settings",
    metavar="NAME.X=VALUE",
    multiple=True,
    help="A setting of the model NAME that answers, or an option of its answers; X=VALUE for all. Repeatable.",
)
@click.option("--output", "-o", metavar="FOLDER", help="Folder of the board (default: in omlab-runs/).")
def pulse_eval(output: str | None, model_settings: tuple[str, ...], **options: Any) -> None:
    """Judge chat models in pairs: Elo and Bradley-Terry ratings with intervals, judge bias, triage F1."""
    from omlab.cli.console import working
    from omlab.cli.results import conclude, show_report
    from omlab_pulse_eval.evaluation import evaluate

    with working():
        outcome = evaluate(given(options, SETTINGS), output=output, model_settings=parse_pairs(model_settings))
    if outcome.report is not None:
        show_report(outcome.report)
    conclude(outcome)

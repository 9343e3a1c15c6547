"""`omlab pulse-eval`: chat models judged in pairs."""

from __future__ import annotations

from typing import Any

import click

from omlab.cli.setting_options import given, read_settings, setting_options

SETTINGS = read_settings("omlab_pulse_eval")


@click.command("pulse-eval", no_args_is_help=True)
@setting_options(SETTINGS)
@click.option("--output", "-o", metavar="FOLDER", help="Folder of the board (default: in omlab-runs/).")
def pulse_eval(output: str | None, **options: Any) -> None:
    """Judge chat models in pairs: Elo and Bradley-Terry ratings with intervals, judge bias, triage F1."""
    from omlab.cli.console import working
    from omlab.cli.results import conclude, show_report
    from omlab_pulse_eval.evaluation import evaluate

    with working():
        outcome = evaluate(given(options, SETTINGS), output=output)
    if outcome.report is not None:
        show_report(outcome.report)
    conclude(outcome)

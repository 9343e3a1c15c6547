"""What a command says at its end: what became of the cases, the report, where things are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NoReturn

from omlab.cli.console import stderr_console, stdout_console

if TYPE_CHECKING:
    from rich.table import Table

    from omlab.jobs.outcome import Outcome
    from omlab.records import Record
    from omlab.roles import Metric, Report

SHOWN = 20
"""Cases that are told of one by one; the log has all."""
_NO_FIGURES = {"epoch", "learning_rate", "seconds"}


def conclude(outcome: Outcome) -> None:
    """Show the outcome, and end the command with its exit status where that is not 0."""
    show_outcome(outcome)
    if outcome.is_whole and outcome.exit_status:
        _exit(outcome.exit_status)


def _exit(status: int) -> NoReturn:
    import click

    raise click.exceptions.Exit(status)


def show_outcome(outcome: Outcome) -> None:
    """Say what became of each case, and where the results are."""
    from rich.markup import escape

    console = stderr_console()
    for note in outcome.notes:
        console.print(f"[yellow]{escape(note)}[/]", soft_wrap=True)
    if not outcome.is_whole:
        console.print("This part is done; other parts of the run are not.")
        return
    told = [record for record in outcome if record.status == "failed" or (record.warnings and not outcome.has_warned)]
    for record in islice(told, SHOWN):
        _tell(record, warnings=[] if outcome.has_warned else record.warnings)
    if len(told) > SHOWN:
        console.print(f"... and {len(told) - SHOWN} more: see cases.jsonl.")
    done, failed = outcome.counts
    if outcome.was_complete:
        console.print("Nothing to do: this run is complete already.")
    elif done + failed > 1:
        console.print(f"{done} of {done + failed} cases are done.")
    for picture in islice(outcome.pictures, SHOWN):
        console.print(f"Picture: {escape(str(picture))}", soft_wrap=True)
    if done:
        stdout_console().print(escape(str(outcome.place)), soft_wrap=True)


def show_last_epoch(outcome: Outcome) -> None:
    """Say with which figures a training ended; nothing of one that has no epochs."""
    for record in outcome:
        epoch = record.values.get("epoch")
        figures = {name: value for name, value in record.values.items() if name not in _NO_FIGURES}
        said = [f"{name} {value:.4g}" for name, value in figures.items() if isinstance(value, int | float)]
        if epoch is not None and said:
            stderr_console().print(f"Epoch {epoch}: {', '.join(said)}", soft_wrap=True)


def show_words(outcome: Outcome) -> None:
    """Say the results that are small enough for a line, case by case."""
    from rich.markup import escape

    from omlab.jobs.outputs import IN_WORDS

    console = stdout_console()
    told = (record for record in outcome if record.status == "done" and IN_WORDS in record.values)
    for number, record in enumerate(told, start=1):
        if number > SHOWN:
            console.print("...")
            break
        console.print(f"{escape(record.id)}: {escape(record.values[IN_WORDS])}", soft_wrap=True, highlight=False)


def _tell(record: Record, *, warnings: Sequence[str]) -> None:
    from rich.markup import escape

    console = stderr_console()
    for warning in warnings:
        about = "" if record.id in warning else f"{record.id}: "
        console.print(f"[yellow]{escape(about + warning)}[/]", soft_wrap=True)
    if record.status == "failed":
        console.print(f"[red]{escape(record.id)} failed: {escape(record.reason)}[/]", soft_wrap=True)


def show_report(report: Report) -> None:
    """The metrics of a report, as many tables below each other as the screen is too narrow for one."""
    console = stdout_console()
    for names in _that_fit(report.metrics, width=console.width):
        console.print(_table([metric for metric in report.metrics if metric.name in names]))


def _that_fit(metrics: Sequence[Metric], *, width: int) -> Iterator[list[str]]:
    """Names of metrics, in their order, as many at a time as have room beside the labels."""
    first = max((len(metric.label or "mean") for metric in metrics), default=0)
    names: list[str] = []
    left = width
    for name in dict.fromkeys(metric.name for metric in metrics):
        needed = 2 + max(len(name), *(len(_figure(metric)) for metric in metrics if metric.name == name))
        if names and needed > left:
            yield names
            names = []
        left = (left if names else width - first) - needed
        names.append(name)
    if names:
        yield names


def _table(metrics: Sequence[Metric]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    names = list(dict.fromkeys(metric.name for metric in metrics))
    labels = list(dict.fromkeys(metric.label for metric in metrics))
    # On a narrow screen it is the figures that give way: a row without its name says nothing.
    table.add_column("", no_wrap=True, min_width=min(30, max(len(label or "mean") for label in labels)))
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for label in labels:
        row = {m.name: m for m in metrics if m.label == label}
        table.add_row(label or "mean", *(_figure(row[name]) if name in row else "" for name in names))
    return table


def _figure(metric: Metric) -> str:
    if metric.value is None:
        return "undefined"
    digits = 1 if metric.unit or abs(metric.value) >= 100 else 3
    text = f"{metric.value:.{digits}f}"
    if metric.low is not None and metric.high is not None:
        text += f" [{metric.low:.{digits}f}, {metric.high:.{digits}f}]"
    return f"{text} {metric.unit}".rstrip()

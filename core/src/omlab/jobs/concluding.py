"""The report of a run: what all its cases come to, as `report.json` and whatever page is written beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from omlab.errors import InputError, PluginError
from omlab.files import write_json, writing
from omlab.jobs.running import stopped
from omlab.roles import Metric, Report, Rows
from omlab.runs import Run

REPORT = "report.json"


def conclude(run: Run, report: Callable[[Rows, Path], Report]) -> Report:
    """Sum up the `rows` of the cases that are done. Raises `OmlabError` where none is."""
    rows = {record.id: record.values["rows"] for record in run.log if record.status == "done"}
    if not rows:
        reason = next((record.reason for record in run.log), "there are no cases")
        raise stopped(reason if len(run.log) == 1 else f"No case could be judged: {reason}")
    with writing("The report", run.folder):
        made = report(rows, run.folder)
        write_report(made, run.folder)
    return made


def write_report(report: Report, folder: Path) -> None:
    """Write `report.json`: `metrics`, `notes`, and the report's `details` beside them."""
    clash = sorted({"metrics", "notes"} & set(report.details))
    if clash:
        raise PluginError(f"The report has '{clash[0]}' among its details, which is a field of every report.")
    whole = {"metrics": [asdict(m) for m in report.metrics], "notes": list(report.notes), **report.details}
    write_json(folder / REPORT, whole)


def stored_report(folder: Path) -> Report:
    """The report of a run that was complete when it was started again. Raises `InputError`."""
    try:
        stored = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        metrics, notes = [Metric(**row) for row in stored.pop("metrics")], stored.pop("notes")
        return Report(metrics=metrics, notes=notes, details=stored)
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{folder / REPORT} is missing or damaged; remove the folder and start again.") from None

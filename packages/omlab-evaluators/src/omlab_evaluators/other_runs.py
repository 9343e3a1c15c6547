"""Other evaluations of the same cases, to be compared with: their rows, from the folder of their run."""

from __future__ import annotations

from pathlib import Path

from omlab.errors import InputError
from omlab.records import CaseLog
from omlab.run_folder import read_log
from omlab_evaluators.bootstrap import CaseRows


def rows_of_run(folder: Path) -> CaseRows:
    """What was measured in the evaluation in `folder`, by case. Raises `InputError` where it is none."""
    log = read_log(folder)
    rows = {record.id: record.values["rows"] for record in CaseLog(folder) if "rows" in record.values} if log else {}
    if not rows:
        raise InputError(f"{folder} is not the folder of an evaluation, such as 'omlab evaluate' makes.")
    return rows


def name_of_run(folder: Path) -> str:
    """The model that the evaluation in `folder` judged, else the folder's name."""
    model = ((read_log(folder) or {}).get("request") or {}).get("model") or {}
    return str(model.get("name") or folder.name)

"""Where a report comes from: the facts of a run, its cases that failed and its warnings, as sections of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omlab.records import CaseLog
from omlab.run_folder import ATTEMPT, read_log
from omlab_report.blocks import Column, Facts, Section, Table
from omlab_report.judged import judged_facts, notices_of

SHOWN = 1000
"""Failed cases, and warnings, that a page lists; of the others it says how many there are."""

FORM = "omlab_run"
"""The form of `run.json`, which says nothing to a reader."""


@dataclass(kw_only=True)
class Remarks:
    """What is to be said of cases: (case, sentence), the first `SHOWN` in the order of ids; and how many there are."""

    rows: list[tuple[str, str]] = field(default_factory=list)
    count: int = 0

    def add(self, case: str, sentence: str) -> None:
        """Count a remark, and keep it where there is room."""
        self.count += 1
        if len(self.rows) < SHOWN:
            self.rows.append((case, sentence))


@dataclass(frozen=True, kw_only=True)
class ReportedRun:
    """What a page says of a run: everything in `run.json`, why cases failed, and the warnings of the others."""

    facts: Mapping[str, Any]
    failed: Remarks = field(default_factory=Remarks)
    warned: Remarks = field(default_factory=Remarks)


def read_run(folder: Path) -> ReportedRun | None:
    """The run whose folder it is; None where it is that of none. Its log is read a line at a time."""
    facts = read_log(folder)
    if facts is None:
        return None
    run = ReportedRun(facts=facts)
    for record in CaseLog(folder):
        if record.status == "failed":
            run.failed.add(record.id, record.reason or "no reason was recorded")
            continue
        for warning in record.warnings:
            run.warned.add(record.id, warning)
    return run


def run_of_case(folder: Path) -> ReportedRun | None:
    """The run that a case is written for, by the folder that its files are written into; None outside of a run.

    For a page of one case, which is written before the run is whole: of other cases it says nothing.
    """
    facts = read_log(folder.parent) if folder.name.startswith(ATTEMPT) else None
    return None if facts is None else ReportedRun(facts=facts)


def run_notices(run: ReportedRun | None) -> list[str]:
    """What a page says above all figures (`Page.notices`), by the run that it reports."""
    return [] if run is None else notices_of(run.facts)


def run_sections(run: ReportedRun | None) -> list[Section]:
    """The end of a page: failed cases and warnings where there are some, and where the report comes from."""
    if run is None:
        return []
    failed = _remarked(
        "Failed cases",
        run.failed,
        what="Reason",
        text="These cases have no figures and are in no mean or interval above.",
    )
    warned = _remarked(
        "Warnings",
        run.warned,
        what="Warning",
        text="These cases have figures, with the reservation that stands beside them.",
    )
    return [*failed, *warned, provenance(run.facts)]


def provenance(facts: Mapping[str, Any]) -> Section:
    """What was judged, open; then everything that `run.json` says, in folded groups, its keys as they stand there."""
    single: dict[str, str] = {}
    groups: list[Facts] = []
    for key, value in facts.items():
        if key == FORM or value is None or value in ("", [], {}):
            continue
        if isinstance(value, Mapping) or (
            isinstance(value, list) and any(isinstance(v, Mapping | list) for v in value)
        ):
            groups.append(Facts(_flatten(value), title=_title(key), folded=True))
        else:
            single[_title(key)] = _text(value)
    judged = judged_facts(facts)
    blocks = [
        *([Facts(judged)] if judged else []),
        *([Facts(single, title="Run", folded=True)] if single else []),
        *groups,
    ]
    return Section(
        "Provenance",
        blocks,
        text="What this report was made of. The folded parts are run.json as it stands; each case is in cases.jsonl.",
    )


def _remarked(title: str, remarks: Remarks, *, what: str, text: str) -> list[Section]:
    if not remarks.count:
        return []
    more = remarks.count - len(remarks.rows)
    if more:
        text += f" The first {len(remarks.rows)} are shown; {more} more are in cases.jsonl."
    rows: list[Sequence[str]] = [list(row) for row in remarks.rows]
    return [Section(title, [Table([Column("Case"), Column(what)], rows)], text=text)]


def _flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested mappings and lists as dotted names with texts."""
    if isinstance(value, Mapping):
        items: Sequence[tuple[Any, Any]] = list(value.items())
    elif isinstance(value, list) and any(isinstance(v, Mapping | list) for v in value):
        items = [(n + 1, v) for n, v in enumerate(value)]
    else:
        return {prefix: _text(value)}
    facts: dict[str, str] = {}
    for key, inner in items:
        facts.update(_flatten(inner, f"{prefix}.{key}" if prefix else str(key)))
    return facts


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(_text(v) for v in value)
    return "none" if value is None else str(value)


def _title(key: str) -> str:
    return key.replace("_", " ").capitalize()

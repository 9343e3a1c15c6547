"""Where a report comes from: the facts of `run.json`, and the cases that failed, as sections of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omlab_report.blocks import Column, Facts, Section, Table

_LONG = 24
"""Groups with more facts than this are folded."""


def provenance(run: Mapping[str, Any]) -> Section:
    """Everything in `run` but its cases: single facts first, then each group (versions, settings, inputs).

    The keys are shown as they stand, so that a run may record what it likes.
    """
    single: dict[str, str] = {}
    groups: list[Facts] = []
    for key, value in run.items():
        if key == "cases" or value is None or value in ("", [], {}):
            continue
        if isinstance(value, Mapping) or (
            isinstance(value, list) and any(isinstance(v, Mapping | list) for v in value)
        ):
            facts = _flatten(value)
            groups.append(Facts(facts, title=_title(key), folded=len(facts) > _LONG))
        else:
            single[_title(key)] = _text(value)
    blocks = [Facts(single), *groups] if single else groups
    return Section("Provenance", blocks, text="What this report was made of, as recorded in run.json.")


def failed_cases(run: Mapping[str, Any]) -> Section | None:
    """The cases of `run` that failed, each with its reason; None where all is well.

    `cases` is a mapping from id to, or a list of, records with a `status` and, for a failed one, a `reason`.
    """
    rows = [[case, _reason(record)] for case, record in _records(run.get("cases")) if _failed(record)]
    if not rows:
        return None
    text = "These cases have no figures and are in no mean or interval above."
    return Section("Failed cases", [Table([Column("Case"), Column("Reason")], rows)], text=text)


def warned_cases(run: Mapping[str, Any]) -> Section | None:
    """The `warnings` of the cases of `run`; None where there are none."""
    rows = [
        [case, str(warning)]
        for case, record in _records(run.get("cases"))
        if not _failed(record)
        for warning in record.get("warnings") or []
    ]
    if not rows:
        return None
    text = "These cases have figures, with the reservation that stands beside them."
    return Section("Warnings", [Table([Column("Case"), Column("Warning")], rows)], text=text)


def _records(cases: Any) -> list[tuple[str, Mapping[str, Any]]]:
    if isinstance(cases, Mapping):
        return [(str(case), record) for case, record in cases.items() if isinstance(record, Mapping)]
    if isinstance(cases, list):
        return [(str(r.get("id", n + 1)), r) for n, r in enumerate(cases) if isinstance(r, Mapping)]
    return []


def _failed(record: Mapping[str, Any]) -> bool:
    return record.get("status") in ("failed", "error")


def _reason(record: Mapping[str, Any]) -> str:
    return str(record.get("reason") or record.get("error") or "no reason was recorded")


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

"""What comes of a labelling: a line a finished label, and how far everybody is."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from omlab.files import replacing, writing
from omlab_text.label.agreement import agreement
from omlab_text.label.handing import is_disputed
from omlab_text.label.store import Entry, Store


def records(store: Store) -> list[dict[str, Any]]:
    """The finished labels, by question and annotator, as rewards are trained on them.

    `{"id", "area", "disease", "prompt": [{"role", "content"}], "answers": [{"id", "text", "model"}],
    "ranks": {answer: rank}, "scores": {answer: {axis: score}}, "tags": {answer: [tag]}, "note",
    "annotator", "role", "seconds"}`; rank 1 is the best, equal ranks are ties.
    A question that several labelled has several lines.
    """
    questions = {question.id: question.to_value() for question in store.questions()}
    return [
        {
            **questions[entry.question],
            **entry.label.model_dump(exclude={"state"}),
            "annotator": entry.annotator,
            "role": entry.role,
        }
        for entry in store.entries()
        if entry.label.state == "done"
    ]


def export(store: Store, path: Path) -> int:
    """Write the records as JSON lines, replacing `path` in one step; how many there are. Raises `OutputError`."""
    rows = records(store)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    with writing("The preferences", path), replacing(path) as temporary:
        temporary.write_bytes("".join(lines).encode("utf-8", "backslashreplace"))
    return len(rows)


def overview(store: Store) -> dict[str, Any]:
    """How many questions are in which state, by annotator too, and the agreement."""
    settings, kept = store.settings(), store.entries()
    by_question: dict[str, list[Entry]] = {question.id: [] for question in store.questions()}
    for entry in kept:
        by_question[entry.question].append(entry)
    disputed = [found for found in by_question.values() if is_disputed(found, below=settings["settle_below"])]
    found = agreement(kept, axes=settings["axes"])
    return {
        "questions": len(by_question),
        "labelled": sum(any(entry.label.state == "done" for entry in found) for found in by_question.values()),
        "disputed": len(disputed),
        "settled": sum(
            any(entry.role == "adjudicator" and entry.label.state == "done" for entry in found) for found in disputed
        ),
        "accounts": [
            {"name": account.name, "role": account.role, **_counts(kept, account.name)} for account in store.accounts()
        ],
        "agreement": {**vars(found), "scores": dict(found.scores)},
    }


def _counts(kept: list[Entry], name: str) -> dict[str, Any]:
    own = [entry.label for entry in kept if entry.annotator == name]
    counts = Counter(label.state for label in own)
    done = [label.seconds for label in own if label.state == "done"]
    return {
        **{state: counts[state] for state in ("done", "skipped", "escalated")},
        "seconds": sum(done) / len(done) if done else None,
    }

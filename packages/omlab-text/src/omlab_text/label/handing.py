"""Who is asked what next, and in which order the answers stand."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from omlab_text.label.accounts import Account
from omlab_text.label.agreement import differ
from omlab_text.label.labels import Label
from omlab_text.label.questions import Question
from omlab_text.label.store import Entry, Store, entries, put

IDLE_SECONDS = 1800.0
"""After which a question that was handed out, and of which nothing was said, is handed to somebody else too."""


def shown_order(question: Question, *, annotator: str, seed: int) -> list[str]:
    """The ids of the answers as this annotator sees them: shuffled, and the same each time."""
    return sorted(
        (answer.id for answer in question.answers), key=lambda answer: _draw(seed, annotator, question.id, answer)
    )


def hand_out(store: Store, account: Account, questions: Sequence[Question]) -> str | None:
    """The id of the question that somebody is asked next, which is theirs from then on; None where there is none."""
    settings = store.settings()
    with store.changing() as connection:  # two who ask at once are not asked the same
        kept = entries(connection)
        id = next_question(account, questions, kept, settings=settings, now=time.time())
        is_new = not any((entry.question, entry.annotator) == (id, account.name) for entry in kept)
        if id is not None and is_new:
            put(connection, id, account.name, Label(state="draft"))
    return id


def next_question(
    account: Account, questions: Sequence[Question], kept: Sequence[Entry], *, settings: Mapping[str, Any], now: float
) -> str | None:
    """The first question that is begun, else the first that is open to the account.

    Open to an annotator is what nobody has labelled or holds, or one other of a question that is labelled twice; to an
    adjudicator what was escalated, or what two annotators disagree about, and no other adjudicator has. An admin labels
    nothing. What somebody skipped comes to others.
    """
    by_question = defaultdict[str, list[Entry]](list)
    for entry in kept:
        by_question[entry.question].append(entry)
    own = {entry.question: entry.label.state for entry in kept if entry.annotator == account.name}
    begun = next((question.id for question in questions if own.get(question.id) == "draft"), None)
    if begun is not None or account.role == "admin":
        return begun
    for question in questions:
        peers = [entry for entry in by_question[question.id] if entry.role == account.role and _is_taken(entry, now)]
        wanted = 1
        if account.role == "adjudicator":
            wanted = int(is_disputed(by_question[question.id], below=settings["settle_below"]))
        elif is_labelled_twice(question.id, share=settings["twice"], seed=settings["seed"]):
            wanted = 2
        if question.id not in own and len(peers) < wanted:
            return question.id
    return None


def is_labelled_twice(question: str, *, share: float, seed: int) -> bool:
    """Whether two annotators label a question."""
    return int(_draw(seed, question)[:8], 16) < share * 16**8


def is_disputed(kept: Sequence[Entry], *, below: float) -> bool:
    """Whether a question was escalated, or two annotators disagree about it, of the entries of one question."""
    labels = [entry.label for entry in kept if entry.role == "annotator"]
    done = [label for label in labels if label.state == "done"]
    return any(label.state == "escalated" for label in labels) or any(
        differ(first.ranks, second.ranks, below=below) for first, second in combinations(done, 2)
    )


def _is_taken(entry: Entry, now: float) -> bool:
    label = entry.label
    is_empty = not (label.ranks or label.scores or label.tags or label.note)
    is_left = label.state == "draft" and is_empty and now - entry.changed > IDLE_SECONDS
    return label.state != "skipped" and not is_left


def _draw(*of: object) -> str:
    """Hexadecimal digits that look random and depend on `of` alone."""
    return hashlib.sha256("\0".join(map(str, of)).encode("utf-8", "surrogatepass")).hexdigest()

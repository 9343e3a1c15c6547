"""Which task targets of a kind are for: what `omlab evaluate` finds its evaluator by."""

from __future__ import annotations

from typing import cast

from omlab.card_schema import EvaluatorCard, validate
from omlab.registry import registry

TASKS = {
    "labelmap": "segmentation",
    "labelmap-2d": "segmentation",
    "classes": "classification",
    "scores": "regression",
    "labelmap-clip": "segmentation",
    "boxes": "detection",
    "boxes-clip": "detection",
}


def task_of(kind: str) -> str:
    """The task of targets of `kind`: the usual one, else that of the evaluators for such targets, else ""."""
    if not kind or kind in TASKS:
        return TASKS.get(kind, "")
    cards = [cast(EvaluatorCard, validate(card)) for card in registry().cards("evaluator")]
    tasks = {card.task for card in cards if card.target == kind}
    return tasks.pop() if len(tasks) == 1 else ""

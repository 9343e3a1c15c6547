"""The reader of docs/judging-chat-models.md: battles, answers, a judge that likes the first seat."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import permutations
from pathlib import Path
from typing import Any

import omlab
from omlab_text.tiny import save_tiny
from tools.shown.chats import LOCAL, SIGNS, chats, rows
from tools.shown.reader import Reader, written

MODELS = ("alpha", "beta", "gamma")
ITEMS = 12
CRITERIA = (("Names a remedy.", 5), ("Does harm.", -5))


def files(folder: Path) -> None:
    """What models answered, how battles ended, questions with criteria, and questions of MedBench."""
    seats = [*permutations(MODELS, 2)]
    fights = (f"{first},{second},model_{'ab'[n % 3 == 0]}" for n, (first, second) in enumerate(seats * 3))
    written(folder / "battles.csv", "model_a,model_b,winner", *fights)
    for length, model in enumerate(MODELS, start=1):
        answers = ({"question": f"question {n}?", "predict_answer": f"{model}-{n} " * length} for n in range(ITEMS))
        rows(folder / "answers" / "exam" / f"{model}.jsonl", answers)
    replied = ({"item": n, "first": a, "second": b, "reply": "8 7\nkinder"} for n in range(ITEMS) for a, b in seats)
    rows(folder / "replies" / "exam.jsonl", ({"set": "exam", **one} for one in replied))
    criteria = [{"criterion": text, "points": points} for text, points in CRITERIA]
    asked = ({"id": sign, "question": f"What helps with {sign}?", "criteria": criteria} for sign in SIGNS)
    rows(folder / "q.jsonl", asked)
    pool = [{"set": "Med-Exam", "id": n, "question": f"{SIGNS[n % 6]} of day {n}?"} for n in range(120)]
    rows(folder / "questions.jsonl", ({**one, "options": ["w", "x", "y", "z"]} for one in pool))
    rows(folder / "answers.jsonl", ({**one, "predict_answer": "A"} for one in pool))
    rows(folder / "references.jsonl", ({**one, "reference_answer": "AB"[n % 2]} for n, one in enumerate(pool)))
    rows(folder / "training" / "web.jsonl", ({"text": one["question"]} for one in pool[:3]))
    save_tiny(folder / "model", "llama")
    rows(folder / "sft.jsonl", chats())
    settings = {"epochs": 1, "data.val": 0.2, "model.format": "chatml"}
    omlab.adapt(
        "causal-lm", f"chats:{folder / 'sft.jsonl'}", recipe="sft", adapter="lora", output=folder / "sft",
        weights=folder / "model", settings=settings,
    )  # fmt: skip


def judge(body: Mapping[str, Any]) -> str:
    """What a server says: a verdict where it is asked for one, else an answer."""
    asked = body["messages"][-1]["content"]
    if "<<answer 1" in asked:
        return "8 7\nbecause"
    if body["model"] == "JUDGE" and len(body["messages"]) == 2:
        return json.dumps({"reason": "because", "met": "Names" in asked})
    return f"Rest, said {len(asked)} times."


JUDGING = Reader(
    files=files,
    instead=[*LOCAL, (r"judge=\.\.\.", "judge=endpoint -s judge_url=URL -s judge_model=JUDGE"), ("NAME", "JUDGE")],
    serves=judge,
)

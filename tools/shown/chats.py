"""The readers of docs/chats.md, training-chats.md and labelling.md: tiny language models, and a server that echoes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from omlab.settings import complete
from omlab_text.label.command import SETTINGS
from omlab_text.label.questions import read_questions
from omlab_text.label.store import Store
from omlab_text.tiny import save_tiny
from tools.shown.reader import Reader, written

SIGNS = ("fever", "cough", "rash", "ache", "cold", "itch")
LOCAL = [
    (r"((?:chat|generate) causal-lm --weights) FOLDER", r"\1 model -s format=chatml"),
    (r"((?:adapt|evaluate) causal-lm --weights) FOLDER", r"\1 model -s model.format=chatml"),
    (r"pulse-7b", "pulse-bloom-tiny"),
    (r"pulse-20b", "pulse-llama-tiny"),
    (r"((?:chat|generate) .*)", r"\1 -s max_tokens=40"),
    (r"(--recipe (?:sft|reward|dpo).*)", r"\1 -s epochs=1 -s data.val=0.2"),
    (r"(--recipe corpus.*)", r"\1 -s tokens=512 -s longest=64"),
    (r"(--recipe ppo.*)", r"\1 -s rollouts=1 -s prompts=2 -s answers=2 -s max_tokens=4"),
]
LABELLING = "it serves until it is stopped: packages/omlab-text/tests/test_label_server.py"


def rows(path: Path, lines: Iterable[Mapping[str, Any]]) -> Path:
    """JSON lines."""
    return written(path, *(json.dumps(line) for line in lines))


def to_chat(folder: Path) -> None:
    """A model, questions of every form on the page, texts and chats to learn from."""
    save_tiny(folder / "model", "llama")
    rows(folder / "questions.jsonl", ({"id": sign, "question": f"What helps with {sign}?"} for sign in SIGNS[:2]))
    exam = ({"question": f"What is {sign}?", "options": ["a sign", "a cure"], "answer": "A"} for sign in SIGNS)
    rows(folder / "exam.jsonl", exam)
    rows(folder / "notes.jsonl", ({"text": f"The patient has {sign}."} for sign in SIGNS[:2]))
    rows(folder / "q.jsonl", [{"question": "Is it fever?"}])
    form = {"type": "object", "properties": {"sign": {"enum": ["fever", "cough"]}}, "required": ["sign"]}
    written(folder / "record.json", json.dumps({**form, "additionalProperties": False}))
    written(folder / "answer.ebnf", 'root ::= "yes" | "no"')
    Image.new("L", (32, 32), 120).save(folder / "chest.png")
    shown = [{"type": "image_url", "image_url": {"url": "chest.png"}}, {"type": "text", "text": "What is seen?"}]
    rows(folder / "x-rays.jsonl", [{"messages": [{"role": "user", "content": shown}]}])
    rows(folder / "sft.jsonl", chats())
    for source in ("general", "medical"):
        rows(folder / "corpus" / f"{source}.jsonl", ({"text": f"{source}: {sign} and more. " * 8} for sign in SIGNS))


def chats() -> Iterable[Mapping[str, Any]]:
    """Questions with their answers."""
    for number in range(10):
        turns = (("user", f"I have a {SIGNS[number % 6]}."), ("assistant", "Rest and drink tea."))
        yield {"messages": [{"role": role, "content": content} for role, content in turns]}


def to_train(folder: Path) -> None:
    """What the whole line learns from."""
    save_tiny(folder / "model", "llama")
    rows(folder / "sft.jsonl", chats())
    rows(folder / "prompts.jsonl", ({"question": f"I have a {sign}. What now?"} for sign in SIGNS))
    rows(folder / "answers.jsonl", chats())


def ranked(folder: Path) -> None:
    """What experts said of answers."""
    answers = [{"id": f"a{place}", "text": text} for place, text in enumerate(("rest", "run", "rum"), start=1)]
    ranks = {"a1": 1, "a2": 2, "a3": 2}
    lines = ({"id": sign, "prompt": f"{sign}?", "answers": answers, "ranks": ranks} for sign in SIGNS)
    rows(folder / "preferences.jsonl", lines)


def labels(folder: Path) -> None:
    """Answers, and what `omlab label serve answers.jsonl` makes of them before it serves."""
    answers = [{"text": "rest", "model": "a"}, {"text": "run", "model": "b"}]
    asked = ({"id": sign, "question": f"What helps with {sign}?", "answers": answers} for sign in SIGNS)
    path = rows(folder / "answers.jsonl", asked)
    store = Store(folder / "labels.sqlite", create=True)
    store.begin(complete(SETTINGS, {}, of="label serve"), given={})
    store.add_questions(read_questions([path]))


def echo(body: Mapping[str, Any]) -> str:
    """What the server answers."""
    return "B"


CHATS = Reader(
    files=to_chat,
    instead=LOCAL,
    left={
        "chat causal-lm --weights model.gguf": "a GGUF file: packages/omlab-text/tests/test_gguf.py makes one",
        "generate xraypulse --weights FOLDER": "published files: contrib/omlab-pulse/tests/test_xray.py makes some",
    },
    typed="What is fever?\n/quit\n",
    serves=echo,
)

TRAINING_CHATS = Reader(
    files=to_train,
    instead=LOCAL,
    left={"label serve": LABELLING, "label export": "it writes what was labelled there"},
    between={"adapt sft/ --data preferences:preferences.jsonl --recipe reward": ranked},
)

LABELLING_PAGE = Reader(files=labels, left={"label serve": LABELLING})

"""A labelling with answers of four models, for tests."""

import json

from omlab_text.label.questions import read_questions
from omlab_text.label.store import Store

SETTINGS = {
    "axes": ["correct", "safe"],
    "tags": ["fabricated", "off topic"],
    "twice": 0.0,
    "settle_below": 0.5,
    "seed": 0,
    "deidentify": "",
}


def write_answers(path, questions=3, *, text="answer {answer} to {question}", answers=4):
    """JSON lines of that many questions."""
    rows = [
        {
            "id": f"q{question:02d}",
            "question": f"Question {question}?",
            "answers": [
                {"id": f"m{answer}", "text": text.format(answer=answer, question=question), "model": f"model-{answer}"}
                for answer in range(answers)
            ],
            "area": "radiology",
        }
        for question in range(questions)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def labelling(folder, questions=3, *, text="answer {answer} to {question}", **settings):
    """A store with questions."""
    store = Store(folder / "labels.sqlite", create=True)
    store.begin({**SETTINGS, **settings}, given={})
    store.add_questions(read_questions([write_answers(folder / "answers.jsonl", questions, text=text)]))
    return store

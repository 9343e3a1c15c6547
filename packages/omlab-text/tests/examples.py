import atexit
import json
from contextlib import ExitStack
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import mkdtemp

from omlab_testkit.example_data import example_data
from omlab_text.testing import example_chats, example_rankings, example_talks


def many_file(card, folder):
    if card != "chat-list":
        return None
    path = folder / "talks.json"
    talk = [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Good morning"}]
    path.write_text(json.dumps([{"id": "first", "conversations": talk}, {"question": "And?"}]))
    return path


def dataset_root(card):
    """A file of questions, or of texts."""
    rows = {
        "choices": [
            {"question": "What is fever?", "options": ["Heat", "Cold"], "answer": "A", "group": "visit"},
            {"question": "What helps?", "options": ["Salt", "Rest", "Sun"], "answer": "B", "subject": "care"},
        ],
        "rubrics": [
            {"question": "What is fever?", "criteria": [{"criterion": "Says that it is a symptom.", "points": 5}]},
            {
                "prompt_id": "p2",
                "prompt": [{"role": "user", "content": "What helps?"}],
                "rubrics": [{"criterion": "Advises rest.", "points": 3, "tags": ["accuracy"]}],
                "example_tags": ["theme:care"],
            },
        ],
        "chats": [
            {"text": f"A {word} of {split}.", "split": split, "source": source, "group": f"{split}{word}"}
            for split in ("train", "val", "test")
            for word, source in (("note", "notes"), ("lesson", "books"))
        ],
        "preferences": [
            {
                "prompt": f"{word} in {split}?",
                "answers": [{"id": "a1", "text": "Rest."}, {"id": "a2", "text": "Run."}, {"id": "a3", "text": "Go."}],
                "ranks": {"a1": 1, "a2": 2, "a3": 2},
                "area": "care",
                "group": f"{split}{word}",
                "split": split,
            }
            for split in ("train", "val", "test")
            for word in ("Fever", "Cough")
        ],
        "prompts": [
            {"question": f"{word} in {split}?", "group": f"{split}{word}", "split": split}
            for split in ("train", "val", "test")
            for word in ("Fever", "Cough")
        ],
        "texts": [{"text": "No acute finding."}, {"text": "肺部未见异常。", "group": "visit"}],
    }[card]
    path = Path(mkdtemp()) / f"{card}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def data(card, recipe):
    """Chats with answers; for rewards questions and rankings of answers to them."""
    if recipe in ("reward", "dpo", "kto"):
        return example_data([{"chat": chat} for chat in example_chats()], example_rankings())
    return example_data([{"chat": chat} for chat in example_talks()], None)


@cache
def endpoint(card):
    """A server that answers, for as long as the process lives."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(load_servers().serving())[0]


def load_servers():
    spec = spec_from_file_location("servers", Path(__file__).with_name("servers.py"))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

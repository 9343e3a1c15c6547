"""Tiny models and files to learn from, for tests."""

import json

from omlab.datasets import open_dataset
from omlab.models import find_card
from omlab.settings import complete
from omlab_text.chat_format import layout
from omlab_text.local import LocalBackend
from omlab_text.local_model import LocalModel
from omlab_text.tiny import tiny_network, tiny_tokenizer
from omlab_text.tokens import TransformersTokenizer


def tiny_model(family="llama"):
    """A model with random weights, as `causal-lm` loads one."""
    tokenizer = TransformersTokenizer(tiny_tokenizer(family))
    network = tiny_network(family, words=len(tokenizer.given))
    return LocalModel(LocalBackend(network, tokenizer, layout("chatml").on(tokenizer), name="tiny", rows=64))


def write_lines(path, rows):
    """JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rankings(count=24, *, ranks=(1, 2, 2)):
    """Questions whose first answer is the best; some of radiology, some of the lab."""
    texts = ("rest", "run", "rum")
    return [
        {
            "id": f"q{number}",
            "prompt": f"Case {number}?",
            "answers": [{"id": f"a{place}", "text": text} for place, text in enumerate(texts)],
            "ranks": {f"a{place}": rank for place, rank in enumerate(ranks)},
            "tags": {"a1": ["dangerous dose"]},
            "area": "radiology" if number % 2 else "lab",
        }
        for number in range(count)
    ]


def data_of(name, path, **settings):
    """A data set of a file, prepared."""
    data = open_dataset(f"{name}:{path}", root=None, settings=settings).dataset
    data.prepare()
    return data


def settings_of(recipe, **given):
    """All settings of a recipe of `causal-lm`."""
    return complete(find_card("causal-lm").trains[recipe].settings, given, of=recipe)

"""The recipes of local language models: what `omlab adapt` minimises. They need omlab-text[local].

`RECIPES` says by name what makes one: `make(model, data, *, settings, seed)` gives an `omlab_train.Recipe` or a `Loop`.
`RETARGETED` says what makes another model of the copy that a recipe trains, such as one with a head:
`make(model, *, settings, seed)`. Both are imported when they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

RECIPES: Mapping[str, str] = {
    "corpus": "omlab_text.recipes.corpus:Corpus",
    "sft": "omlab_text.recipes.sft:Sft",
    "reward": "omlab_text.recipes.reward:RewardRecipe",
    "dpo": "omlab_text.recipes.by_trl:dpo",
    "kto": "omlab_text.recipes.by_trl:kto",
    "ppo": "omlab_text.recipes.ppo:ppo",
    "grpo": "omlab_text.recipes.ppo:grpo",
    "rloo": "omlab_text.recipes.ppo:rloo",
}
RETARGETED: Mapping[str, str] = {"reward": "omlab_text.reward_model:rewarding"}


def maker(entry: str) -> Callable[..., Any]:
    """What an entry of these tables names."""
    module, _, name = entry.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found

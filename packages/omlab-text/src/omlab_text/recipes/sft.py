"""Recipe `sft`: supervised fine-tuning on chats; what the assistant says is learnt, and nothing else."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

import omlab
from omlab.errors import InputError, OmlabNote, OmlabWarning, TrainingError
from omlab.roles import Dataset, Sample
from omlab_text.chat import Chat
from omlab_text.chat_format import Encoded
from omlab_text.recipes.language import LanguageRecipe
from omlab_text.recipes.rows import rows_of
from omlab_text.recipes.token_store import Read, Tokens, TokenStore, store_of
from omlab_text.training.supervised import IGNORED, targets_of, trained_texts
from omlab_train.order import Order
from omlab_train.settings import mixed_seed

if TYPE_CHECKING:
    from omlab_text.local_model import LocalModel

_WINDOW = 32
"""Batches that are sorted by length together."""


class Sft(LanguageRecipe):
    """The assistant's words, with what ends them; chats of like length go together.

    Of a chat that is longer than `longest` tokens the end is cut off; where no answer is left, so is the chat. Both are
    told, and so is what is learnt of the first chat.

    Raises:
        InputError: A chat cannot be written in the model's chat format, or has no answer; names file and line.
        TrainingError: No chat is left.
    """

    def __init__(self, model: LocalModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> None:
        super().__init__(model, data, settings=settings, seed=seed)
        self._tell(data)

    def read(self, data: Dataset, split: str) -> TokenStore:
        """As in `LanguageRecipe`."""
        store = store_of(data.cases(split), self._read, key=self.key(data, split))
        if not len(store):
            raise TrainingError(f"No chat of '{split}' has an answer within {self.longest} tokens: raise longest.")
        return store

    @cached_property
    def batches(self) -> SortedBatches:
        """As in `LanguageRecipe`."""
        return SortedBatches(store=self.store, size=self.settings["batch_size"], seed=self.seed)

    @property
    def pass_steps(self) -> int:
        """As in `LanguageRecipe`."""
        return math.ceil(len(self.store) / int(self.settings["batch_size"] * self.settings["accumulate"]))

    def _read(self, sample: Sample) -> Read:
        encoded = encode(self.model, sample)
        targets = np.array(targets_of(encoded))
        learnt = np.concatenate([[False], targets[:-1] != IGNORED])
        ids = np.array(encoded.ids, np.int32)
        kept = Tokens(ids=ids[: self.longest], learnt=learnt[: self.longest])
        pieces = [kept] if kept.learnt.any() else []
        return Read(pieces=pieces, source=sample.meta.get("source", ""), cut=len(ids) - len(kept.ids))

    def _tell(self, data: Dataset) -> None:
        first = data.cases("train")[0].load()
        spans = trained_texts(encode(self.model, first), self.model.backend.tokenizer)
        learnt = " | ".join(spans)
        warnings.warn(f"Of the first chat ('{first.id}') this is learnt: {learnt}", OmlabNote, stacklevel=3)
        if self.store.shortened:
            warnings.warn(
                f"Of {len(data.cases('train'))} chats {self.store.shortened} have more than {self.longest} tokens: "
                f"their ends are cut off, and {self.store.empty} of them, without an answer by then, are left out.",
                OmlabWarning,
                stacklevel=3,
            )


def encode(model: LocalModel, sample: Sample) -> Encoded:
    """A case's chat in the model's format. Raises `InputError` that names file and line where it cannot be learnt."""
    try:
        encoded = model.backend.format.encode(omlab.take(sample.inputs, "chat", Chat), prompt=False)
        targets_of(encoded)
    except InputError as error:
        raise InputError(f"{sample.meta.get('where', sample.id)} cannot be used: {error}") from None
    return encoded


@dataclass(frozen=True, kw_only=True)
class SortedBatches:
    """Batches of chats of like length: every chat once an epoch, as `omlab_train.order.Order` has them."""

    store: TokenStore
    size: int
    seed: int

    def __call__(self, number: int) -> dict[str, Tensor]:
        """The batch of that number."""
        return rows_of([[self.store[place]] for place in self.places(number)])

    def places(self, number: int) -> list[int]:
        """Which chats it holds: of a window of at most an epoch, sorted by length, one stretch."""
        order = Order(count=len(self.store), seed=self.seed)
        batches = min(_WINDOW, max(1, len(self.store) // self.size))
        window, inside = divmod(number, batches)
        begin = window * batches * self.size
        places = sorted(
            (order(begin + place)[0] for place in range(batches * self.size)),
            key=lambda place: self.store.lengths[place],
        )
        stretch = np.random.default_rng(mixed_seed(self.seed, window) % 2**64).permutation(batches)[inside]
        return places[stretch * self.size : (stretch + 1) * self.size]

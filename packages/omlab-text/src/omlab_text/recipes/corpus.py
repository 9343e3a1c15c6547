"""Recipe `corpus`: continual pre-training on texts, packed so that none sees another."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

import omlab
from omlab.errors import InputError, OmlabNote, TrainingError
from omlab.roles import Dataset, Sample
from omlab_text.chat import Chat
from omlab_text.recipes.language import LanguageRecipe
from omlab_text.recipes.mixture import packed_rows, shares_of, stream
from omlab_text.recipes.rows import rows_of
from omlab_text.recipes.token_store import Read, Tokens, TokenStore, store_of
from omlab_text.training.packing import check_packing

if TYPE_CHECKING:
    from omlab_text.local_model import LocalModel


class Corpus(LanguageRecipe):
    """Every token of texts, and of whole chats; nothing is dropped.

    A text longer than `longest` tokens goes on in further pieces, which do not see those before. The order, by the
    shares of sources, is a plan made beforehand: a training that was interrupted goes on at the token that comes next.

    Raises:
        InputError: A chat cannot be written in the model's format; names file and line.
        SettingsError: The network cannot read packed rows, or a source is not there.
    """

    betas = (0.9, 0.95)

    def __init__(self, model: LocalModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> None:
        super().__init__(model, data, settings=settings, seed=seed, is_packed=settings["packed"])
        if settings["packed"]:
            check_packing(model.module)
        shares = shares_of(self.store.sources, mixture=settings["mixture"], replay=settings["replay"])
        places = stream(self.store, shares=shares, tokens=settings["tokens"], seed=seed)
        rows = (
            packed_rows(places, self.store.lengths, longest=self.longest, seed=seed)
            if settings["packed"]
            else ([place] for place in places)
        )
        self.plan = Plan.of(rows)
        self._tell()

    def read(self, data: Dataset, split: str) -> TokenStore:
        """As in `LanguageRecipe`."""
        read = partial(pieces_of, model=self.model, longest=self.longest)
        store = store_of(data.cases(split), read, key=self.key(data, split))
        if not len(store):
            raise TrainingError(f"No text of '{split}' has two tokens: there is nothing to predict.")
        return store

    @cached_property
    def batches(self) -> PlannedBatches:
        """As in `LanguageRecipe`."""
        return PlannedBatches(store=self.store, plan=self.plan, size=self.settings["batch_size"])

    @property
    def pass_steps(self) -> int:
        """As in `LanguageRecipe`: of the whole plan."""
        return math.ceil(len(self.plan) / int(self.settings["batch_size"] * self.settings["accumulate"]))

    @property
    def steps(self) -> int:
        """As many as the plan takes."""
        return self.pass_steps

    def _tell(self) -> None:
        tokens = np.bincount(
            self.store.source[self.plan.pieces],
            weights=self.store.lengths[self.plan.pieces],
            minlength=len(self.store.sources),
        )
        shares = ", ".join(
            f"{name} {one / tokens.sum():.1%}" for name, one in zip(self.store.sources, tokens, strict=True)
        )
        filled = tokens.sum() / (len(self.plan) * self.longest)
        warnings.warn(
            f"{int(tokens.sum())} tokens are learnt ({shares}) in {len(self.plan)} rows of {self.longest}, which they "
            f"fill by {filled:.1%}.",
            OmlabNote,
            stacklevel=3,
        )


def pieces_of(sample: Sample, *, model: LocalModel, longest: int) -> Read:
    """All tokens of a text or of a whole chat, in pieces of at most so many. Raises `InputError` as `Corpus`."""
    ids = np.array(_ids(sample, model), np.int32)
    pieces = [ids[begin : begin + longest] for begin in range(0, len(ids), longest)]
    kept = [Tokens(ids=piece, learnt=np.ones(len(piece), np.bool_)) for piece in pieces if len(piece) > 1]
    return Read(pieces=kept, source=sample.meta.get("source", ""))


def _ids(sample: Sample, model: LocalModel) -> list[int]:
    """A chat with answers in the model's format; else its last turn as a bare text, from <s> to </s>."""
    chat, tokenizer = omlab.take(sample.inputs, "chat", Chat), model.backend.tokenizer
    if any(turn.role == "assistant" for turn in chat.turns):
        try:
            return model.backend.format.encode(chat, prompt=False).ids
        except InputError as error:
            raise InputError(f"{sample.meta.get('where', sample.id)} cannot be used: {error}") from None
    bos, eos = tokenizer.bos, tokenizer.given.eos_token_id
    ids = tokenizer.ids(chat.turns[-1].text)
    return [*([] if bos is None else [bos]), *ids, *([] if eos is None else [int(eos)])]


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Rows of pieces: `pieces` of all rows one after the other, `bounds` between rows."""

    pieces: NDArray[np.int64]
    bounds: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Any) -> Plan:
        """Of an iterator of rows."""
        found = list(rows)
        return cls(
            pieces=np.array([piece for row in found for piece in row], np.int64),
            bounds=np.cumsum([0, *map(len, found)]).astype(np.int64),
        )

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, row: int) -> list[int]:
        return [int(piece) for piece in self.pieces[self.bounds[row] : self.bounds[row + 1]]]


@dataclass(frozen=True, kw_only=True)
class PlannedBatches:
    """Batches of a plan's rows in their order; where the last ones are asked for more, it begins anew."""

    store: TokenStore
    plan: Plan
    size: int

    def __call__(self, number: int) -> dict[str, Tensor]:
        """The batch of that number."""
        rows = [self.plan[row % len(self.plan)] for row in range(number * self.size, (number + 1) * self.size)]
        return rows_of([[self.store[piece] for piece in row] for row in rows])

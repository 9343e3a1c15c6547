"""Batches of sequences for the recipes: with numbers, with residues to be told, or with both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from omlab_protein.alphabet import INDEX, MASK, RESIDUES
from omlab_protein.network import Layout
from omlab_train.order import Order

_RESIDUES = torch.tensor([INDEX[letter] for letter in RESIDUES])
Row = tuple[int, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class SequenceBatches:
    """Batches of sequences and their numbers; a function of the seed and the batch's number. Picklable."""

    rows: Sequence[Row]
    values: Tensor
    size: int
    seed: int
    standard: Tensor

    def __call__(self, number: int) -> dict[str, Tensor]:
        """Batch `number`: `tokens` (T,), `lengths` (B,), `values` (B,), standardised, and `standard`."""
        order = Order(count=len(self.rows), seed=self.seed)
        drawn = [order(number * self.size + place)[0] for place in range(self.size)]
        values = (self.values[drawn] - self.standard[0]) / self.standard[1]
        return {**pack([self.rows[index] for index in drawn]), "values": values, "standard": self.standard}


@dataclass(frozen=True, eq=False, kw_only=True)
class MaskedBatches:
    """Batches of sequences with residues to be told: of these 80 % are masked, 10 % drawn anew, 10 % left (BERT)."""

    rows: Sequence[Row]
    size: int
    seed: int
    masked: float

    def __call__(self, number: int) -> dict[str, Tensor]:
        """Batch `number`: `tokens` (T,), `lengths` (B,), `asked` (rows,), the places to tell, and `truth` (rows,)."""
        order = Order(count=len(self.rows), seed=self.seed)
        drawn = [order(number * self.size + place) for place in range(self.size)]
        batch = pack([self.rows[index] for index, _ in drawn])
        tokens = batch["tokens"]
        generator = torch.Generator().manual_seed(drawn[0][1])
        residues = torch.isin(tokens, _RESIDUES)
        chance = torch.rand(len(tokens), generator=generator).masked_fill(~residues, 2.0)
        asked = (chance < self.masked).nonzero()[:, 0]
        if not len(asked):
            asked = chance.argmin()[None]
        truth, how = tokens[asked], torch.rand(len(asked), generator=generator)
        other = _RESIDUES[torch.randint(len(_RESIDUES), (len(asked),), generator=generator)]
        changed = torch.where(how < 0.8, torch.full_like(truth, MASK), torch.where(how < 0.9, other, truth))
        return {**batch, "tokens": tokens.index_copy(0, asked, changed), "asked": asked, "truth": truth}


@dataclass(frozen=True, eq=False, kw_only=True)
class PretrainingBatches:
    """The same sequences with residues to be told and with their numbers."""

    numbers: SequenceBatches
    residues: MaskedBatches

    def __call__(self, number: int) -> dict[str, Tensor]:
        """Batch `number`: what both have."""
        return {**self.numbers(number), **self.residues(number)}


def pack(rows: Sequence[Row]) -> dict[str, Tensor]:
    """Rows one after the other: `tokens` (T,) and `lengths` (B,)."""
    return {
        "tokens": torch.tensor([token for row in rows for token in row]),
        "lengths": torch.tensor([len(row) for row in rows]),
    }


def layout_of(batch: Mapping[str, Tensor]) -> Layout:
    """How the tokens of a batch lie."""
    return Layout.of(batch["lengths"].tolist(), device=batch["tokens"].device)

"""Tokens as a batch of rows: of one document each, or of several."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from omlab_text.recipes.token_store import Tokens
from omlab_text.training.supervised import IGNORED


def rows_of(rows: Sequence[Sequence[Tokens]]) -> dict[str, Tensor]:
    """A batch, padded on the right: `ids`, `targets` and `documents` (B, T), as `TargetNetwork` takes them.

    A target is the next token of the same document where it is to be learnt. Padding is token 0, which nothing sees.
    """
    length = max(sum(len(piece.ids) for piece in row) for row in rows)
    ids, documents = (torch.zeros(len(rows), length, dtype=torch.int64) for _ in range(2))
    targets = torch.full((len(rows), length), IGNORED)
    for number, row in enumerate(rows):
        begin = 0
        for document, piece in enumerate(row, start=1):
            end = begin + len(piece.ids)
            tokens, learnt = torch.from_numpy(piece.ids).long(), torch.from_numpy(piece.learnt)
            ids[number, begin:end], documents[number, begin:end] = tokens, document
            targets[number, begin : end - 1] = torch.where(learnt[1:], tokens[1:], IGNORED)
            begin = end
    return {"ids": ids, "documents": documents, "targets": targets}

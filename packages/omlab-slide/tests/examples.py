"""A small encoder in the place of the one that `slide-features` needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from omlab.payloads import Inputs
from omlab.session import Session
from omlab_payloads.embedding import Embedding
from omlab_testkit.stand_ins import session


class MeanColour:
    """Red, green and blue of a patch."""

    def embed(self, batch: Sequence[Inputs], /) -> Iterator[Embedding]:
        """Three numbers for each."""
        for inputs in batch:
            image: Any = inputs["image"]
            yield Embedding(vector=np.asarray(image.array.mean(axis=(0, 1)), np.float32))


def needs(card: Any) -> dict[str, Session]:
    """By the names that cards have for them."""
    return {"encoder": session(MeanColour(), does={"embed": {"takes": {"image": "image"}, "gives": "embedding"}})}

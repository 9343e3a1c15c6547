"""Texts as tokens on disk: made once in pieces of some thousand cases, read where batches are cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from omlab import progress
from omlab.digests import digest_of
from omlab.roles import Case, Sample
from omlab_train.cache import Entry, PreparedCache

SHARD = 4096
"""Cases that are tokenised together."""


class Tokens(NamedTuple):
    """The tokens (T,) of a text, and for each whether it is to be learnt."""

    ids: NDArray[np.int32]
    learnt: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Read:
    """What a case became: pieces, none where nothing of it can be learnt; `cut`: tokens that were left out."""

    pieces: Sequence[Tokens]
    source: str = ""
    cut: int = 0


class TokenStore(Sequence[Tokens]):
    """The tokens of a data set's cases, each opened where it is asked for; light and picklable.

    Attributes:
        lengths: Tokens of each piece.
        sources: The names of where pieces are from.
        source: (pieces,), which of them.
        shortened: Cases of which tokens were left out.
        empty: Cases of which nothing was left.
    """

    def __init__(self, shards: Sequence[Entry]) -> None:
        self._shards = shards
        self.lengths = np.concatenate([np.diff(shard["bounds"]) for shard in shards])
        self._shard = np.repeat(np.arange(len(shards)), [len(shard["bounds"]) - 1 for shard in shards])
        self._begin = np.concatenate([shard["bounds"][:-1] for shard in shards])
        names = [str(name) for shard in shards for name in shard["sources"]]
        self.sources = sorted(set(names))
        self.source = np.concatenate([self._codes(shard) for shard in shards])
        self.shortened, self.empty = (int(sum(shard["told"][n] for shard in shards)) for n in (0, 1))

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, place: int) -> Tokens:  # type: ignore[override]
        shard, begin = self._shards[self._shard[place]], self._begin[place]
        end = begin + self.lengths[place]
        return Tokens(ids=np.array(shard["ids"][begin:end]), learnt=np.array(shard["learnt"][begin:end]))

    def _codes(self, shard: Entry) -> NDArray[np.int64]:
        here = np.array([self.sources.index(str(name)) for name in shard["sources"]], np.int64)
        return here[shard["source"]] if len(here) else np.zeros(0, np.int64)


def store_of(cases: Sequence[Case], read: Callable[[Sample], Read], *, key: object) -> TokenStore:
    """The tokens of all cases.

    Args:
        cases: What to read.
        read: What a case becomes. It may raise `InputError`.
        key: JSON that says, beside the place of a case, all that its tokens depend on.
    """
    cache = PreparedCache()
    shards = []
    with progress.bar("tokenising", total=len(cases)) as advance:
        for begin in range(0, len(cases), SHARD):
            some = range(begin, min(begin + SHARD, len(cases)))

            def make(some: range = some) -> dict[str, NDArray[np.generic]]:
                return _arrays(read(cases[place].load()) for place in some)

            shards.append(cache.get(digest_of([key, begin, len(some)]), make))
            advance(len(some))
    return TokenStore(shards)


def _arrays(found: Iterator[Read]) -> dict[str, NDArray[np.generic]]:
    """The arrays of a shard: tokens one after the other, `bounds` between pieces."""
    pieces: list[Tokens] = []
    of: list[str] = []
    shortened = empty = 0
    for one in found:
        pieces += one.pieces
        of += [one.source] * len(one.pieces)
        shortened += one.cut > 0
        empty += not one.pieces
    names = sorted(set(of))
    return {
        "ids": np.concatenate([np.zeros(0, np.int32), *(piece.ids for piece in pieces)]).astype(np.int32),
        "learnt": np.concatenate([np.zeros(0, np.bool_), *(piece.learnt for piece in pieces)]).astype(np.bool_),
        "bounds": np.cumsum([0, *(len(piece.ids) for piece in pieces)]).astype(np.int64),
        "source": np.array([names.index(name) for name in of], np.int32),
        "sources": np.array(names, dtype=np.str_),
        "told": np.array([shortened, empty], np.int64),
    }

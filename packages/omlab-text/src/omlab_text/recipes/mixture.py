"""Which texts come in which order: by the shares of their sources, and packed into rows of so many tokens."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from omlab.errors import SettingsError
from omlab.suggest import did_you_mean
from omlab_text.recipes.token_store import TokenStore
from omlab_train.order import Order
from omlab_train.settings import mixed_seed

_WINDOW = 64
"""Rows that are packed together: of more, less is padded; of fewer, texts stay closer to where they were drawn."""


def shares_of(sources: Sequence[str], *, mixture: Sequence[str], replay: str) -> dict[str, float] | None:
    """The share of the tokens that each source gives; None: all texts alike.

    Args:
        sources: What there is.
        mixture: `SOURCE=WEIGHT` each; what is not named is left out. Empty: all that is not replayed.
        replay: `SOURCE=SHARE` of all tokens, which the mixture leaves for it; "": none.

    Raises:
        SettingsError: A source is not there, a weight is none, or nothing but the replay is left. `mixture` is needed
            where there are several sources beside the replayed one.
    """
    if not mixture and not replay:
        return None
    known = dict(_weight(one, sources, name="mixture") for one in mixture)
    if not replay:
        return {source: weight / sum(known.values()) for source, weight in known.items()}
    repeated, share = _weight(replay, sources, name="replay")
    rest = known or dict.fromkeys((source for source in sources if source != repeated), 1.0)
    if share >= 1 or repeated in rest or not rest:
        raise SettingsError(f"replay={replay} must be a share below 1 of a source that mixture does not name.")
    if not mixture and len(rest) > 1:
        weights = ",".join(f"{source}=1" for source in rest)
        raise SettingsError(f"replay leaves {len(rest)} sources: weigh them, such as -s mixture={weights}")
    return {repeated: share} | {source: (1 - share) * weight / sum(rest.values()) for source, weight in rest.items()}


def stream(store: TokenStore, *, shares: Mapping[str, float] | None, tokens: int, seed: int) -> Iterator[int]:
    """Places of pieces until they have `tokens` tokens; 0: as many as the store has, or with shares as what is in it.

    Every piece of a source comes once before any comes again. Next is always the source that is farthest behind its
    share, so that the shares hold at any time.
    """
    if shares is None:
        places, weights = [np.arange(len(store))], [1.0]
    else:
        places = [np.flatnonzero(store.source == store.sources.index(name)) for name in shares]
        weights = list(shares.values())
    wanted = tokens or sum(int(store.lengths[each].sum()) for each in places)
    orders = [Order(count=len(each), seed=mixed_seed(seed, number)) for number, each in enumerate(places)]
    drawn, given = [0] * len(places), [0] * len(places)
    while (total := sum(given)) < wanted:
        behind = [weight * (total + 1) - has for weight, has in zip(weights, given, strict=True)]
        source = behind.index(max(behind))
        place = int(places[source][orders[source](drawn[source])[0]])
        drawn[source] += 1
        given[source] += int(store.lengths[place])
        yield place


def packed_rows(places: Iterator[int], lengths: NDArray[np.int64], *, longest: int, seed: int) -> Iterator[list[int]]:
    """Rows of pieces of at most `longest` tokens together: best fit, the longest pieces of a window first."""
    window: list[int] = []
    tokens = number = 0
    for place in places:
        window.append(place)
        tokens += int(lengths[place])
        if tokens >= _WINDOW * longest:
            yield from _packed(window, lengths, longest=longest, seed=mixed_seed(seed, number))
            window, tokens, number = [], 0, number + 1
    yield from _packed(window, lengths, longest=longest, seed=mixed_seed(seed, number))


def _packed(window: Sequence[int], lengths: NDArray[np.int64], *, longest: int, seed: int) -> list[list[int]]:
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # tokens that a row has left, and which row, the fullest first
    for place in sorted(window, key=lambda place: -lengths[place]):
        length = int(lengths[place])
        fitting = bisect_left(room, (length, -1))
        left, row = room.pop(fitting) if fitting < len(room) else (longest, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(place)
        insort(room, (left - length, row))
    return [rows[row] for row in np.random.default_rng(seed % 2**64).permutation(len(rows))]


def _weight(given: str, sources: Sequence[str], *, name: str) -> tuple[str, float]:
    source, _, text = str(given).rpartition("=")
    try:
        weight = float(text)
    except ValueError:
        weight = 0.0
    if not source or not 0 < weight < float("inf"):
        raise SettingsError(f"{name} is '{given}', but must be SOURCE=WEIGHT with a weight above 0.")
    if source not in sources:
        hint = did_you_mean(source, sources, none="there is none.")
        raise SettingsError(f"{name} names the source '{source}', which the training data lack: {hint}")
    return source, weight

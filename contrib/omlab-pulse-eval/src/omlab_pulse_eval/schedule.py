"""The schedule of a tournament: which two models meet on which item, and who sits first.

For model i = 0..n-1 and j = 0..i-1, items are drawn with replacement until the pair has its number of battles;
draws on an item that either model left blank are dropped, but have used the generator. Where i + j + item is even,
i sits first. The procedure regenerates the recorded schedules of PULSE-EVAL from the same seed.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from omlab.errors import InputError, SettingsError


@dataclass(frozen=True)
class Seats:
    """One battle: `first` and `second` answer item number `item` of a set, `draw` counts repetitions of it."""

    first: str
    second: str
    item: int
    draw: int = 0


def schedule(
    models: Sequence[str],
    *,
    items: int,
    per_pair: int = 10,
    seed: int = 42,
    blank: Collection[tuple[str, int]] = frozenset(),
    both_seatings: bool = False,
) -> list[Seats]:
    """The battles of one set, in their order: `per_pair` for each pair, twice as many with `both_seatings`.

    Args:
        models: Their order counts.
        items: Number of items of the set.
        per_pair: Battles of each pair.
        seed: Seed of Python's generator, set anew for each set.
        blank: (model, item) without an answer.
        both_seatings: Every battle is fought again with the seats exchanged, right after it.
    """
    if len(models) < 2 or len(set(models)) != len(models):
        raise SettingsError(f"A tournament needs two or more models, each once, not: {', '.join(models) or 'none'}.")
    if items < 1 or per_pair < 1:
        raise SettingsError(f"A tournament needs items and battles of each pair, not {items} and {per_pair}.")
    rng = random.Random(seed)  # noqa: S311 - a drawing that others must be able to repeat
    missing = frozenset(blank)
    seen: dict[tuple[str, str, int], int] = {}
    battles = []
    for i in range(len(models)):
        for j in range(i):
            if all((models[i], d) in missing or (models[j], d) in missing for d in range(items)):
                raise InputError(f"{models[i]} and {models[j]} have no item that both answered: leave one of them out.")
            accepted = 0
            while accepted < per_pair:
                item = rng.randint(0, items - 1)
                if (models[i], item) in missing or (models[j], item) in missing:
                    continue
                accepted += 1
                pair = (models[i], models[j]) if (i + j + item) % 2 == 0 else (models[j], models[i])
                for first, second in (pair, pair[::-1]) if both_seatings else (pair,):
                    draw = seen.get((first, second, item), 0)
                    seen[first, second, item] = draw + 1
                    battles.append(Seats(first, second, item, draw))
    return battles


def schedule_digest(battles: Sequence[Seats]) -> str:
    """sha256 of the lines `first,second,item`: two schedules with the same digest are the same."""
    lines = "\n".join(f"{seats.first},{seats.second},{seats.item}" for seats in battles)
    return hashlib.sha256(lines.encode()).hexdigest()

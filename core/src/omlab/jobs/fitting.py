"""Which of the cards of one network is for the files that a user names."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from omlab.cases import cases_in
from omlab.errors import InputError
from omlab.models import find_card


def fitting(name: str, verb: str, paths: Sequence[Path], *, named: Collection[str] = ()) -> str:
    """`name`, or the first of the cards that its card names in `also` that reads the paths, with the same weights.

    An adapted model is always itself. What none of them reads stays with `name`, which says what is wrong.

    Args:
        name: Of a model, with or without the tag of its weights.
        verb: What is to be done with the paths.
        paths: Of the input without a name.
        named: The inputs that are given by name.

    Raises `UnknownNameError`, `UsageError` or `CardError` where there is no such model.
    """
    card = find_card(name)
    if not card.also or not paths or Path(name).is_dir():
        return name
    _, dot, tag = name.partition(".")
    for other in (card, *(find_card(other) for other in card.also)):
        facts = other.does.get(verb)
        free = next((kind for kind in facts.required if kind not in named), None) if facts else None
        if facts is not None and free is not None and _reads(paths[0], facts.kinds[free], name=free):
            return f"{other.name}{dot}{tag}"
    return name


def _reads(path: Path, kind: str, *, name: str) -> bool:
    try:
        return bool(cases_in([path], kind, name=name))
    except InputError:
        return False
